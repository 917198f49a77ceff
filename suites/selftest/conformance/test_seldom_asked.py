"""Weights of routes and consistent hashing may leave a cluster without a request: a setting, on a mesh of others."""

from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.traffic import Sequence
from harness.proof.faults import effects, requests
from harness.proof.faults.edit import with_config
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import judged

SEVERAL = "multi-primary-multi-network"


def _routes(*weights: int) -> ConfigObject:
    destinations = [
        {"destination": {"host": "helloworld", "subset": f"v{n}"}, "weight": w} for n, w in enumerate(weights, 1)
    ]
    return policy("VirtualService", "sample", hosts=["helloworld"], http=[{"route": destinations}])


def _rules(*rules: Mapping[str, object]) -> ConfigObject:
    return policy("VirtualService", "sample", hosts=["helloworld"], http=list(rules))


def _to(subset: str = "", host: str = "helloworld", **rule: object) -> dict[str, object]:
    return {"route": [{"destination": {"host": host, **({"subset": subset} if subset else {})}}], **rule}


def _within(cluster: str) -> dict[str, object]:
    """Partitioning, as Istio documents it: requests from a cluster go to the subset of that cluster."""
    return _to(cluster, match=[{"sourceLabels": {"topology.istio.io/cluster": cluster}}])


def _route(name: str, **match: object) -> ConfigObject:
    rule = {"backendRefs": [{"name": name, "port": 5000}], **({"matches": [match]} if match else {})}
    return policy("HTTPRoute", "sample", parentRefs=[{"kind": "Service", "name": "helloworld"}], rules=[rule])


def _hash_on(port: int) -> ConfigObject:
    of_port = {"port": {"number": port}, "loadBalancer": {"consistentHash": {"useSourceIp": True}}}
    return policy("DestinationRule", "sample", host="helloworld", trafficPolicy={"portLevelSettings": [of_port]})


def _hashed() -> ConfigObject:
    balancer = {"loadBalancer": {"consistentHash": {"httpHeaderName": "user"}}}
    return policy("DestinationRule", "sample", host="helloworld", trafficPolicy=balancer)


def _one_sided(good: Observation, *items: ConfigObject) -> Observation:
    """Every client was answered by its own cluster only."""
    changed = with_config(good, good.topology.primaries, *items)
    for client in good.topology.clusters:
        changed = requests.only_from(changed, client, client)
    return changed


@pytest.mark.parametrize(
    ("item", "verdict"),
    [
        (_routes(90, 10), Verdict.PASS),
        (_routes(3, 1), Verdict.PASS),
        (_routes(100, 0), Verdict.PASS),
        (_hashed(), Verdict.PASS),
        (_hash_on(5000), Verdict.PASS),
        (_hash_on(80), Verdict.FAIL),
        (_rules(_within("cluster1"), _within("cluster2")), Verdict.PASS),
        (_rules(_within("cluster9"), _to()), Verdict.FAIL),
        (_rules(_to("v1")), Verdict.PASS),
        (_rules(_to(host="helloworld-v1")), Verdict.PASS),
        (_rules(_to()), Verdict.FAIL),
        (_rules(_to("v1", match=[{"uri": {"prefix": "/hello"}}]), _to()), Verdict.PASS),
        # The suite's requests have no such header: they take the rule behind it.
        (_rules(_to("v1", match=[{"headers": {"end-user": {"exact": "jason"}}}]), _to()), Verdict.FAIL),
        (_route("helloworld-v1"), Verdict.PASS),
        (_route("helloworld-v1", path={"value": "/"}), Verdict.PASS),
        (_route("helloworld-v1", path={"value": "/other"}), Verdict.FAIL),
        (_route("helloworld"), Verdict.FAIL),
        # Of 21 requests none goes to one of two equal routes once in two million times.
        (_routes(50, 50), Verdict.FAIL),
        (policy("VirtualService", "sample", hosts=["shop"], http=[]), Verdict.FAIL),
    ],
    ids=[
        "one in ten",
        "one in four",
        "none",
        "hashed",
        "hashed on the port",
        "hashed on another port",
        "partitioned",
        "partitioned elsewhere",
        "one subset",
        "another host",
        "the service itself",
        "its path",
        "a header",
        "route to another service",
        "route of its path",
        "route of another path",
        "route to itself",
        "equal",
        "of another service",
    ],
)
def test_silence_is_explained_by_a_setting(
    item: ConfigObject, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    seen = _one_sided(foreign_observations[SEVERAL], item)
    reach = judged("TR-REACH", seen)
    assert reach.verdict is verdict, reach.explanation
    if verdict is Verdict.PASS:
        assert any(f"{item.kind} sample/x" in fact for fact in reach.facts)
        for id in ("TR-NO-ERRORS", "TR-NO-RETRIES"):  # noqa: A001
            assert judged(id, seen).verdict is Verdict.PASS, judged(id, seen).explanation
        assert judged("TR-DISTRIBUTION", seen).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(("routed", "verdict"), [(True, Verdict.PASS), (False, Verdict.FAIL)])
def test_settings_of_a_subset_hold_for_what_is_sent_to_it(
    routed: bool, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    subset = {"name": "v1", "trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": True}}}}
    rule = policy("DestinationRule", "sample", host="helloworld", subsets=[subset])
    seen = _one_sided(foreign_observations[SEVERAL], rule, *([_routes(50, 50)] if routed else []))
    assert judged("TR-REACH", seen).verdict is verdict


@pytest.mark.parametrize(
    ("name", "verdict"), [("helloworld-v1", Verdict.NOT_APPLICABLE), ("helloworld", Verdict.UNKNOWN)]
)
def test_what_goes_to_another_service_is_counted_there(
    name: str, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    good = foreign_observations[SEVERAL]
    seen = with_config(good, good.topology.primaries, _route(name))
    assert seen.traffic
    none = {
        kind: tuple(
            s.model_copy(update={"hosts": tuple(h.model_copy(update={"requests": 0}) for h in s.hosts)})
            for s in getattr(seen.traffic, kind)
        )
        for kind in ("coverage", "distribution")
    }
    counted = seen.model_copy(update={"traffic": seen.traffic.model_copy(update=none)})
    assert judged("TR-NO-RETRIES", counted).verdict is verdict


def test_what_is_seldom_asked_must_be_healthy(foreign_observations: Mapping[str, Observation]) -> None:
    seen = _one_sided(foreign_observations[SEVERAL], _routes(90, 10))
    for client in seen.topology.clusters:
        own = {pod.ip for pod in seen[client].pods}
        seen = effects.endpoints(
            seen,
            client,
            lambda e, own=own: e if e.address in own else e.model_copy(update={"healthy": False}),  # type: ignore[misc]
        )
    assert judged("TR-REACH", seen).verdict is Verdict.FAIL


def _failing(sequence: Sequence) -> Sequence:
    first, *others = sequence.requests
    failed = first.model_copy(update={"status": 503, "version": "", "error": "no healthy upstream"})
    return sequence.model_copy(update={"requests": (failed, *others)})


def test_requests_that_fail_are_not_explained_by_weights(foreign_observations: Mapping[str, Observation]) -> None:
    """What is missing may be what failed."""
    seen = _one_sided(foreign_observations[SEVERAL], _routes(90, 10))
    assert seen.traffic
    traffic = seen.traffic.model_copy(update={"coverage": tuple(map(_failing, seen.traffic.coverage))})
    assert judged("TR-REACH", seen.model_copy(update={"traffic": traffic})).verdict is Verdict.FAIL


def test_on_an_installed_mesh_nobody_has_set_that(good_observations: Mapping[str, Observation]) -> None:
    assert judged("TR-REACH", _one_sided(good_observations[SEVERAL], _routes(90, 10))).verdict is Verdict.FAIL
