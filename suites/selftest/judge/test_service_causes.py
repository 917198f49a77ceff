"""What else decides about a service is named: its Service's form, a ServiceEntry, a Sidecar, an EnvoyFilter."""

from collections.abc import Callable, Mapping

import pytest

from harness.judge.diagnose.registry import detectors
from harness.model.cluster import Pod
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind, ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.edit import edit, on, pods, services, with_config, with_env, with_mesh
from suites.selftest.judge.test_policies import _cut, _everywhere, causes
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import first, last
from suites.selftest.support.foreign import foreign

SEVERAL = "multi-primary-multi-network"
Change = Callable[[Observation], Observation]
HOST = "helloworld.sample.svc.cluster.local"


def _headless(observation: Observation) -> Observation:
    return _cut(services(observation, last(observation.topology), "helloworld", cluster_ip="None"))


def _empty(observation: Observation) -> Observation:
    lost = last(observation.topology)
    changed = services(observation, lost, "helloworld", selector={"app": "hello"}, ready_endpoints=())
    return _cut(changed)


def _entry(observation: Observation) -> Observation:
    entry = policy("ServiceEntry", "sample", hosts=[HOST], resolution="STATIC")
    return _cut(with_config(observation, (last(observation.topology),), entry))


def _scope(observation: Observation) -> Observation:
    return _cut(_everywhere(observation, "Sidecar", "sample", egress=[{"hosts": ["istio-system/*", "./other"]}]))


def _reset(observation: Observation) -> Observation:
    target = last(observation.topology)
    changed = effects.gateway_probes(observation, target, ProbeResult.REFUSED, ports=(15443,), connects=True)
    return requests.only_from(changed, first(observation.topology), first(observation.topology), vain="reset")


def _expected(observation: Observation) -> Observation:
    """The gateway waits for the PROXY protocol, by an EnvoyFilter."""
    value = {"name": "proxy_protocol", "typed_config": {"@type": "x.proxy_protocol.v3.ProxyProtocol"}}
    patch = {"applyTo": "LISTENER_FILTER", "patch": {"operation": "INSERT_FIRST", "value": value}}
    item = policy(
        "EnvoyFilter", "istio-system", workloadSelector={"labels": {"istio": "eastwestgateway"}}, configPatches=[patch]
    )
    return _reset(with_config(observation, (last(observation.topology),), item))


def _expected_by_pod(observation: Observation) -> Observation:
    note = {"proxy.istio.io/config": '{"gatewayTopology": {"proxyProtocol": {}}}'}

    def change(pod: Pod) -> Pod:
        return pod.model_copy(update={"annotations": note}) if "eastwestgateway" in pod.name else pod

    return _reset(pods(observation, last(observation.topology), change))


def _expected_by_mesh(observation: Observation) -> Observation:
    default: dict[str, object] = {"gatewayTopology": {"proxyProtocol": {}}}
    return _reset(with_mesh(observation, [last(observation.topology)], defaultConfig=default))


def _sent(observation: Observation) -> Observation:
    note = "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: *"
    return _reset(services(observation, last(observation.topology), "istio-eastwestgateway", proxy_protocol=note))


def _filtered(observation: Observation) -> Observation:
    patch = {"applyTo": "NETWORK_FILTER", "patch": {"operation": "INSERT_BEFORE"}}
    return _reset(_everywhere(observation, "EnvoyFilter", "istio-system", configPatches=[patch]))


def _emptied(observation: Observation) -> Observation:
    client, lost = first(observation.topology), last(observation.topology)
    changed = effects.lose_endpoints(observation, client, lost)
    return requests.only_from(changed, client, client)


NAMED: dict[str, tuple[Change, str, str]] = {
    "headless": (_headless, "service-headless", "Service sample/helloworld"),
    "empty": (_empty, "service-empty", "Service sample/helloworld"),
    "entry": (_entry, "service-entry", "ServiceEntry sample/x"),
    "scope": (_scope, "sidecar-scope", "Sidecar sample/x"),
    "expected": (_expected, "proxy-protocol", "EnvoyFilter istio-system/x"),
    "expected-by-pod": (_expected_by_pod, "proxy-protocol", "Pod istio-system/istio-eastwestgateway-"),
    "expected-by-mesh": (_expected_by_mesh, "proxy-protocol", "ConfigMap istio-system/istio"),
    "sent": (_sent, "proxy-protocol", "Service istio-system/istio-eastwestgateway"),
    "filtered": (_filtered, "envoy-filter", "EnvoyFilter istio-system/x"),
    "emptied": (_emptied, "registry-emptied", "Pod istio-system/istiod-"),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_object_is_named_first(
    case: str, good_observations: Mapping[str, Observation], foreign_observations: Mapping[str, Observation]
) -> None:
    change, wanted, object_ = NAMED[case]
    for observations in (good_observations, foreign_observations):
        found = causes(change(observations[SEVERAL]))
        assert found[0].id == wanted, found
        assert found[0].object.startswith(object_), found
        assert not any(" delete " in cause.repair for cause in found)


HARMLESS: dict[str, Change] = {
    "sidecar-with-sample": lambda o: _everywhere(o, "Sidecar", "sample", egress=[{"hosts": ["./*", "istio-system/*"]}]),
    "sidecar-for-ingress-only": lambda o: _everywhere(o, "Sidecar", "sample", ingress=[{"port": {"number": 5000}}]),
    "entry-for-an-outside-host": lambda o: _everywhere(o, "ServiceEntry", "sample", hosts=["example.com"]),
    "both-agree": lambda o: services(
        with_mesh(o, o.topology.primaries, defaultConfig={"gatewayTopology": {"proxyProtocol": {}}}),
        last(o.topology),
        "istio-eastwestgateway",
        proxy_protocol="x: y",
    ),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_does_no_harm_is_not_named(case: str, good_observations: Mapping[str, Observation]) -> None:
    changed = HARMLESS[case](good_observations[SEVERAL])
    ids = {"service-entry", "sidecar-scope", "proxy-protocol", "service-headless", "service-empty"}
    assert not ids & {detector.id for detector in detectors() for _ in detector.find(changed)}
    assert causes(changed) == ()


def test_an_agreed_proxy_protocol_is_not_blamed_for_something_else(
    good_observations: Mapping[str, Observation],
) -> None:
    good = good_observations[SEVERAL]
    agreed = _reset(HARMLESS["both-agree"](good))
    blamed = [cause for cause in causes(agreed) if cause.id == "proxy-protocol"]
    # The other cluster's gateway expects it by the same setting, and nothing of it is broken.
    assert blamed == []


def _self_signed(good: Observation) -> Observation:
    """West's istiod signs with a CA of its own."""
    from harness.proof.faults.mutations import faults  # noqa: PLC0415 - the table is large

    return faults()["cacerts-late"].apply(good)


@pytest.mark.parametrize("mode", ["own", "foreign"])
@pytest.mark.parametrize("directory", ["", "/etc/other"])
def test_a_ca_in_another_directory(mode: str, directory: str, good_observations: Mapping[str, Observation]) -> None:
    """The secret is there and unused: why comes first, what follows from it is not named."""
    good = good_observations[SEVERAL]
    late = _self_signed(good)
    cluster = next(found.cluster for d in detectors() if d.id == "cacerts-late" for found in d.find(late))
    broken = with_env(late, late.topology[cluster], "discovery", ROOT_CA_DIR=directory)
    found = causes(foreign(broken) if mode == "foreign" else broken)
    assert [cause.id for cause in found] == ["ca-directory" if directory else "cacerts-late"]
    assert found[0].object.startswith("Deployment istio-system/istiod" if directory else "Pod istio-system/istiod-")


def test_probes_are_what_shows_a_proxy_protocol(good_observations: Mapping[str, Observation]) -> None:
    """Without a connection that broke off nothing is said."""
    good = good_observations[SEVERAL]
    sent = services(good, last(good.topology), "istio-eastwestgateway", proxy_protocol="x: y")
    (detector,) = (each for each in detectors() if each.id == "proxy-protocol")
    assert not list(detector.find(sent))
    broken = on(sent, last(good.topology))
    broken = broken.model_copy(
        update={"probes": edit(broken.probes, lambda p: p.kind is ProbeKind.TLS, result=ProbeResult.REFUSED)}
    )
    assert list(detector.find(broken))
