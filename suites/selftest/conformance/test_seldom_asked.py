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
        # Of 21 requests none goes to one of two equal routes once in two million times.
        (_routes(50, 50), Verdict.FAIL),
        (policy("VirtualService", "sample", hosts=["shop"], http=[]), Verdict.FAIL),
    ],
    ids=["one in ten", "one in four", "none", "hashed", "equal", "of another service"],
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
