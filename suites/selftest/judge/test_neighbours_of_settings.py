"""Of what breaks a mesh of others by a setting, a certificate or a webhook, the object that says so is named."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from harness.judge.diagnose.registry import Found, detectors
from harness.model.istio import ConfigObject, InjectionWebhook, WebhookRule
from harness.model.kubernetes import Condition
from harness.model.observation import Observation
from harness.model.traffic import Request, Sequence
from harness.proof.faults import effects, requests
from harness.proof.faults.edit import edit, on, with_config, with_mesh, with_namespace
from suites.selftest.judge.test_policies import causes
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import first, last
from suites.selftest.support.valid_kinds import Base

ROUTED = Base("variants/multi-primary-multi-network.json.gz")
"""Two primaries on two networks."""
HOST = {"host": "helloworld"}


def _named(cause: str, observation: Observation) -> list[Found]:
    (detector,) = (each for each in detectors() if each.id == cause)
    return list(detector.find(observation))


def _to(*subsets: str) -> list[dict[str, Any]]:
    return [{"destination": {**HOST, "subset": subset}} for subset in subsets]


def _everywhere(observation: Observation, *items: ConfigObject) -> Observation:
    return with_config(observation, observation.topology.primaries, *items)


def _answered(observation: Observation, change: Callable[[int, Request], Request]) -> Observation:
    """The clients' requests end otherwise."""

    def sequence(found: Sequence) -> Sequence:
        changed = tuple(change(number, request) for number, request in enumerate(found.requests[:20]))
        return found.model_copy(update={"requests": changed})

    traffic = observation.traffic
    assert traffic
    update = {"coverage": tuple(map(sequence, traffic.coverage)), "distribution": ()}
    return observation.model_copy(update={"traffic": traffic.model_copy(update=update)})


def _failed(request: Request) -> Request:
    return request.model_copy(update={"status": 503, "version": "", "instance": "", "error": "fault filter abort"})


SUBSETS = policy("DestinationRule", "sample", **HOST, subsets=[{"name": "v1", "labels": {"version": "v1"}}])
ABORT = {"abort": {"httpStatus": 503, "percentage": {"value": 30}}}
ROUTES: dict[str, tuple[dict[str, Any], str]] = {
    "other-host": ({"route": [{"destination": {"host": "other"}}]}, "to other"),
    "fault": ({"fault": ABORT, "route": [{"destination": HOST}]}, "fault.abort"),
    "timeout": ({"timeout": "50ms", "route": [{"destination": HOST}]}, "timeout 50ms"),
    "match": ({"match": [{"uri": {"prefix": "/v2"}}], "route": [{"destination": HOST}]}, "no rule without match"),
}


@pytest.mark.parametrize("case", ROUTES)
def test_a_route_that_decides_is_named(case: str) -> None:
    """It stands alike on both primaries, so that none of them is at odds with the other."""
    rule, said = ROUTES[case]
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[rule])
    changed = _everywhere(ROUTED.observation(), SUBSETS, routes)
    found = causes(_answered(changed, lambda number, request: _failed(request) if number % 3 else request))
    assert {cause.id for cause in found} == {"route-decides"}
    assert found[0].object == "VirtualService sample/x"
    assert said in found[0].found


@pytest.mark.parametrize(
    "rule",
    [
        {"timeout": "10s", "route": [{"destination": HOST}]},
        {"retries": {"attempts": 3}, "route": _to("v1", "v2")},
        {"match": [{"uri": {"prefix": "/"}}], "route": [{"destination": HOST}]},
        {"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 0}}}, "route": [{"destination": HOST}]},
    ],
    ids=["long-timeout", "all-subsets", "everything", "no-fault"],
)
def test_a_route_that_decides_nothing_is_not_blamed(rule: dict[str, Any]) -> None:
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[rule])
    assert not _named("route-decides", _everywhere(ROUTED.observation(), routes))


def test_subsets_that_no_rule_defines() -> None:
    """Their weights share nothing out: every request is answered 503."""
    weighted = [{**route, "weight": 50} for route in _to("v1", "v2")]
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[{"route": weighted}])
    broken = _answered(_everywhere(ROUTED.observation(), routes), lambda _, request: _failed(request))
    found = causes(broken)
    assert {cause.id for cause in found} == {"subset-undefined"}
    assert found[0].found == "v1, v2: no such subset"
    whole = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    defined = _everywhere(broken, policy("DestinationRule", "sample", **HOST, subsets=whole))
    assert not _named("subset-undefined", defined)


def _gateway_refused(observation: Observation, namespaces: str) -> Observation:
    """West's gateway asks for revision 1-7-0, whose istiod is gone and whose injection webhook is not."""
    west = last(observation.topology)
    observed = observation[west]
    name = "rev.namespace.sidecar-injector.istio.io"
    workload = next(each for each in observed.workloads if "eastwestgateway" in each.name)
    said = (
        f'Internal error occurred: failed calling webhook "{name}": failed to call webhook: Post '
        '"https://istiod-1-7-0.istio-system.svc:443/inject?timeout=10s": service "istiod-1-7-0" not found'
    )
    rule = WebhookRule(
        name=name,
        service="istio-system/istiod-1-7-0:443",
        failure_policy="Fail",
        namespace_selector={"matchLabels": {"istio.io/rev": "1-7-0"}},
        object_selector={},
    )
    left = InjectionWebhook(name="istio-sidecar-injector-1-7-0", revision="1-7-0", webhooks=(rule,))
    conditions = (
        Condition(type="Available", status="False"),
        Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message=said),
    )
    workloads = edit(observed.workloads, lambda each: each == workload, desired=1, conditions=conditions)
    changed = on(observation, west, workloads=workloads, webhooks=(*observed.webhooks, left))
    return with_namespace(changed, west, namespaces, "labels", **{"istio.io/rev": "1-7-0"})


def test_a_gateway_that_an_injector_of_a_revision_that_is_gone_refuses() -> None:
    """The sample's own injection is as it should be."""
    observation = Base("faults/gateway-down.json.gz").observation()
    assert not _named("injector-left", observation)
    found = causes(_gateway_refused(observation, "istio-system"))[0]
    assert (found.id, found.cluster) == ("injector-left", "west")
    assert found.object == "MutatingWebhookConfiguration istio-sidecar-injector-1-7-0"
    assert any('service "istiod-1-7-0" not found' in line for line in found.evidence)


def _long_chain(of: str, **days: int) -> Observation:
    """West's CA has another one over it; the times of that, or of the root, are some days from now."""
    observation = Base("variants/long-chain.json.gz").observation()
    west = last(observation.topology)
    secret = observation[west].ca_secret
    assert secret and secret.root_cert
    old = secret.cert_chain[1] if of == "between" else secret.root_cert
    times = {field: observation.observed + timedelta(number) for field, number in days.items()}
    text, new = old.model_dump_json(), old.model_copy(update=times).model_dump_json()
    whole = observation.model_dump_json()
    assert text in whole
    return Observation.model_validate_json(whole.replace(text, new))


@pytest.mark.parametrize(
    ("of", "days", "cause", "file"),
    [
        ("between", {"not_before": -360, "not_after": 5}, "intermediate-expires-soon", "cert-chain.pem"),
        ("between", {"not_after": -1}, "intermediate-expired", "cert-chain.pem"),
        ("root", {"not_after": -1}, "intermediate-expired", "root-cert.pem"),
    ],
)
def test_a_ca_over_the_one_that_signs(of: str, days: dict[str, int], cause: str, file: str) -> None:
    """A path is valid only while all of it is: neither the injector nor a harmless profile is named in its place."""
    assert not _named(cause, Base("variants/long-chain.json.gz").observation())
    found = causes(_long_chain(of, **days))
    assert (found[0].id, found[0].object) == (cause, f"Secret istio-system/cacerts {file}")
    assert "root-weak" not in {each.id for each in found}


def test_clients_without_mutual_tls_of_their_own() -> None:
    """All primaries say it, and no DestinationRule asks for mutual TLS: the gateways find no SNI."""
    observation = ROUTED.observation()
    broken = with_mesh(observation, observation.topology.primaries, enableAutoMtls=False)
    for cluster in broken.topology.clusters:
        broken = requests.only_from(broken, cluster, cluster, vain="refused")
    found = causes(broken)
    assert {(cause.id, cause.object) for cause in found} == {("auto-mtls-off", "ConfigMap istio-system/istio")}
    rule = policy("DestinationRule", "istio-system", host="*.local", trafficPolicy={"tls": {"mode": "ISTIO_MUTUAL"}})
    assert not _named("auto-mtls-off", _everywhere(broken, rule))


def test_endpoints_by_another_way_are_not_called_lost() -> None:
    """West's pods are labelled with east's network: east's client has their own addresses, so istiod did read west."""
    observation = ROUTED.observation()
    east, west = first(observation.topology), last(observation.topology)
    direct = effects.pod_endpoints(observation, east, west)
    broken = requests.only_from(direct, east, east, vain="timeout")
    assert not _named("registry-emptied", broken)
    found = causes(broken)
    assert "registry-emptied" not in {cause.id for cause in found}
    assert found[0].id == "endpoints-missing"
