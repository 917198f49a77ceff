"""Meshes of others, recorded live: the valid ones are green, and of each broken one the object at fault is named first.

Each is a mesh of two primaries on two networks, judged with --verify-only: with one change that a public report of
Istio or its neighbours describes, or installed with Istio's Helm charts and the sample's curl. On the latter, own-…
judge a service called reviews instead of the sample (--service). mutual-for-all is a primary-remote mesh.
"""

from pathlib import Path

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation, load
from suites.catalogue import catalogue

RECORDED = Path(__file__).parents[1] / "recorded" / "meshes"
SUFFIX = ".json.gz"
GREEN = {Verdict.PASS, Verdict.SKIPPED, Verdict.NOT_APPLICABLE}
VALID = (
    "app-protocol",
    "both-labels",
    "curl-for-sleep",
    "external-ips",
    "failover",
    "gateway-port",
    "helm-charts",
    "ingress-policy",
    "one-secret",
    "own-service",
    "root-bundle",
    "tls-secret",
)
BROKEN = {
    "chain-glued": ("cacerts-unreadable", "Secret istio-system/cacerts cert-chain.pem"),
    "discovery-gateways": ("gateway-left-out", "Namespace istio-system"),
    "gateway-port-moved": ("gateway-port-moved", "Service istio-system/istio-eastwestgateway"),
    "gateway-selector": ("gateway-selector", "Gateway istio-system/cross-network-gateway"),
    "injector-left": ("injector-left", "MutatingWebhookConfiguration istio-sidecar-injector-1-7-0"),
    "mesh-locality": ("mesh-locality", "ConfigMap istio-system/istio"),
    "mutual-for-all": ("istiod-tls-originated", "DestinationRule istio-system/mutual"),
    "network-value": ("network-value", "ConfigMap istio-system/istio-sidecar-injector"),
    "no-mtls": ("mtls-disabled", "PeerAuthentication sample/no-mtls"),
    "own-service-denied": ("sample-denied", "AuthorizationPolicy shop/closed"),
    "own-service-not-exposed": ("services-not-exposed", "Gateway istio-system/cross-network-gateway"),
    "packets-lost": ("packets-lost", "way east → west"),
    "restart-away": ("secret-unreachable", "Secret istio-system/istio-remote-secret-cluster2"),
    "subset-unknown": ("subset-unknown", "DestinationRule sample/helloworld"),
    "tls-ended": ("gateway-selects-others", "Service istio-system/istio-eastwestgateway"),
}


def _judgements(observation: Observation) -> tuple[Judgement, ...]:
    """Of every requirement that applies; what only an experiment shows is left out."""
    rows = (row for row in catalogue().values() if row.applies_to(observation.topology) and not row.experiment)
    return tuple(judge(row, observation) for row in rows if not row.lacks(observation))


@pytest.mark.parametrize("name", VALID)
def test_valid_mesh_is_green(name: str) -> None:
    verdicts = {each.id: each.verdict for each in _judgements(load(RECORDED / f"{name}{SUFFIX}"))}
    assert {row: verdict for row, verdict in verdicts.items() if verdict not in GREEN} == {}
    assert sum(verdict is Verdict.PASS for verdict in verdicts.values()) >= 35


@pytest.mark.parametrize("name", BROKEN)
def test_object_at_fault_is_named_first(name: str) -> None:
    observation = load(RECORDED / f"{name}{SUFFIX}")
    judgements = _judgements(observation)
    first = diagnose(observation, judgements)[0]
    assert (first.id, first.object) == BROKEN[name]
    assert any(judgement.verdict is Verdict.FAIL for judgement in judgements)


def test_every_recording_is_judged() -> None:
    assert {path.name.removesuffix(SUFFIX) for path in RECORDED.glob(f"*{SUFFIX}")} == {*VALID, *BROKEN}
