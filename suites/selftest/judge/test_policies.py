"""Causes in policies and settings: the object that decides is named, shown, and never deleted."""

from collections.abc import Callable, Mapping

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.diagnose.cause import Cause
from harness.judge.diagnose.registry import detectors
from harness.judge.requirement import judge
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind, ProbeResult
from harness.proof.faults import configuration, effects, requests
from harness.proof.faults.edit import edit, services, with_config, with_mesh
from harness.proof.faults.policies import reset_behind_gateway
from suites.catalogue import catalogue
from suites.selftest.model.test_policies import INGRESS, policy
from suites.selftest.support.breakage import first, last

SEVERAL = "multi-primary-multi-network"
Change = Callable[[Observation], Observation]


def causes(observation: Observation) -> tuple[Cause, ...]:
    """What is named, the first one first."""
    rows = [row for row in catalogue().values() if row.applies_to(observation.topology) and not row.experiment]
    return diagnose(observation, tuple(judge(row, observation) for row in rows if not row.scenario))


def _cut(observation: Observation) -> Observation:
    """No cluster's client knows another cluster's helloworld any more."""
    for client in observation.topology.clusters:
        others = observation.topology.others(client)
        observation = effects.lose_endpoints(observation, client, *others)
        observation = requests.only_from(observation, client, client)
    return observation


def _everywhere(observation: Observation, kind: str, namespace: str, **spec: object) -> Observation:
    return with_config(observation, observation.topology.primaries, policy(kind, namespace, **spec))


def _no_mtls(observation: Observation) -> Observation:
    selector = {"matchLabels": {"app": "helloworld"}}
    changed = _everywhere(observation, "PeerAuthentication", "sample", selector=selector, mtls={"mode": "DISABLE"})
    for target in observation.topology.clusters:
        changed = reset_behind_gateway(changed, target)
    return _cut(changed)


def _plain_rule(observation: Observation) -> Observation:
    return _cut(
        _everywhere(
            observation, "DestinationRule", "sample", host="helloworld", trafficPolicy={"tls": {"mode": "DISABLE"}}
        )
    )


def _mesh_locality(observation: Observation) -> Observation:
    setting = {"enabled": True, "distribute": [{"from": "r-east/*", "to": {"r-east/*": 100}}]}
    return _cut(with_mesh(observation, observation.topology.primaries, localityLbSetting=setting))


def _service_near(observation: Observation) -> Observation:
    for cluster in observation.topology.clusters:
        observation = services(observation, cluster, "helloworld", internal_traffic_policy="Local")
    return _cut(observation)


def _subset_unknown(observation: Observation) -> Observation:
    client, target = first(observation.topology), last(observation.topology)
    rule = policy("DestinationRule", "sample", **configuration.versions(observation.topology, "sample"))
    routes = policy("VirtualService", "sample", **configuration.skewed(observation.topology, "sample"))
    changed = with_config(observation, (client,), rule, routes)
    return requests.traffic(
        changed, client, **{client.name: requests.Answers(), target.name: requests.Answers(failing=1.0)}
    )


def _gateway_denied(observation: Observation) -> Observation:
    target = last(observation.topology)
    item = policy("AuthorizationPolicy", "istio-system", selector={"matchLabels": {"istio": "eastwestgateway"}})
    changed = with_config(observation, (target,), item)
    changed = effects.gateway_probes(changed, target, ProbeResult.REFUSED, ports=(15443,), connects=True)
    return requests.only_from(changed, first(observation.topology), first(observation.topology), vain="refused")


def _sample_denied(observation: Observation) -> Observation:
    """Every primary lets in nobody but an account that no client has."""
    source = {"source": {"principals": ["cluster.local/ns/sample/sa/other"]}}
    changed = _everywhere(observation, "AuthorizationPolicy", "sample", rules=[{"from": [source]}])
    client = first(observation.topology)
    forbidden = {"status": 403, "version": "", "error": "RBAC: access denied"}
    traffic = changed.traffic
    assert traffic
    coverage = edit(
        traffic.coverage,
        lambda sequence: sequence.client == client.name,
        requests=edit(traffic.coverage[0].requests, lambda _: True, **forbidden),
    )
    return changed.model_copy(update={"traffic": traffic.model_copy(update={"coverage": coverage})})


NAMED: dict[str, tuple[Change, str, str, str]] = {
    "no-mtls": (_no_mtls, "mtls-disabled", "PeerAuthentication sample/x", "spec.mtls.mode"),
    "plain-rule": (_plain_rule, "mtls-disabled", "DestinationRule sample/x", "spec.trafficPolicy.tls.mode"),
    "mesh-locality": (
        _mesh_locality,
        "mesh-locality",
        "ConfigMap istio-system/istio",
        "mesh.localityLbSetting.distribute",
    ),
    "service-near": (_service_near, "service-near", "Service sample/helloworld", "spec.internalTrafficPolicy"),
    "subset-unknown": (_subset_unknown, "subset-unknown", "DestinationRule sample/x", "exists"),
    "gateway-denied": (_gateway_denied, "gateway-denied", "AuthorizationPolicy istio-system/x", "spec.selector"),
    "sample-denied": (_sample_denied, "sample-denied", "AuthorizationPolicy sample/x", "spec.rules"),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_object_that_decides_is_named_first(
    case: str, good_observations: Mapping[str, Observation], foreign_observations: Mapping[str, Observation]
) -> None:
    """On both kinds of meshes; no command takes anything away from the user."""
    change, wanted, object_, field = NAMED[case]
    for observations in (good_observations, foreign_observations):
        found = causes(change(observations[SEVERAL]))
        assert (found[0].id, found[0].object, found[0].field) == (wanted, object_, field), found
        assert not any(" delete " in cause.repair for cause in found)


def test_the_missing_rule_is_applied_where_it_is_missing(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations[SEVERAL]
    (cause, *_) = causes(_subset_unknown(good))
    west = last(good.topology)
    assert cause.cluster == west.name
    assert f"--context {good[west].context}" in cause.repair
    assert '"subsets"' in cause.repair


ANY_ACCOUNT: dict[str, object] = {"rules": [{"from": [{"source": {"principals": ["*"]}}]}]}


@pytest.mark.parametrize("spec", [{}, ANY_ACCOUNT], ids=["deny-all", "any-account"])
def test_a_policy_of_the_root_namespace_that_cuts_remotes_off_is_named(
    spec: Mapping[str, object], good_observations: Mapping[str, Observation]
) -> None:
    """It holds for the primary's gateway, through which a remote reaches its control plane."""
    good = good_observations["primary-remote-single-network"]
    changed = _everywhere(good, "AuthorizationPolicy", "istio-system", **spec)
    changed = changed.model_copy(
        update={
            "probes": tuple(
                probe.model_copy(update={"result": ProbeResult.REFUSED, "certificates": ()})
                if (probe.port, probe.kind) == (15012, ProbeKind.TLS)
                else probe
                for probe in changed.probes
            )
        }
    )
    (cause, *_) = causes(changed)
    assert (cause.id, cause.object) == ("gateway-denied", "AuthorizationPolicy istio-system/x")
    assert "CERT-ISTIOD" in cause.explains
    assert "east port 15012" in cause.found


@pytest.mark.parametrize(
    ("kind", "namespace", "spec"),
    [
        ("AuthorizationPolicy", "istio-system", {"rules": [{}]}),
        ("AuthorizationPolicy", "istio-system", {"action": "DENY"}),
        ("AuthorizationPolicy", "istio-system", {"action": "DENY", **ANY_ACCOUNT}),
        ("AuthorizationPolicy", "istio-system", {"action": "AUDIT", **ANY_ACCOUNT}),
        ("AuthorizationPolicy", "istio-system", INGRESS),
        ("PeerAuthentication", "sample", {"selector": {"matchLabels": {"app": "sleep"}}, "mtls": {"mode": "DISABLE"}}),
        ("PeerAuthentication", "istio-system", {"mtls": {"mode": "STRICT"}}),
        ("DestinationRule", "sample", {"host": "helloworld", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
    ],
)
def test_policies_that_do_no_harm_are_not_named(
    kind: str, namespace: str, spec: Mapping[str, object], good_observations: Mapping[str, Observation]
) -> None:
    changed = _everywhere(good_observations[SEVERAL], kind, namespace, **spec)
    found = {detector.id for detector in detectors() for _ in detector.find(changed)}
    assert not found & {"mtls-disabled", "gateway-denied", "subset-unknown", "policies-differ"}
    assert causes(changed) == ()


def test_no_cause_where_one_network_needs_no_gateway(good_observations: Mapping[str, Observation]) -> None:
    """Pods of one network reach each other in plaintext, too."""
    changed = _everywhere(
        good_observations["multi-primary-single-network"], "PeerAuthentication", "sample", mtls={"mode": "DISABLE"}
    )
    assert not any(detector.id == "mtls-disabled" and list(detector.find(changed)) for detector in detectors())
