"""Causes of a control plane outside of the mesh, and their repairs, name the cluster on which the object stands."""

import re
from collections.abc import Iterable, Mapping

import pytest

from harness.judge.diagnose import diagnose
from harness.model import renewal
from harness.model.certificate import CHAPTER_FILES
from harness.model.observation import Observation, load
from harness.proof.faults.mutations import faults
from suites.selftest.support.breakage import on
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.judgements import judged
from suites.selftest.support.recordings import RECORDED

OBJECTS = {
    "control-plane-down": "Deployment istio-system/istiod",
    "external-istiod-scaled-down": "Deployment istio-system/istiod",
    "external-off": "Deployment istio-system/istiod",
    "webhook-not-serving": "Service istio-system/istiod",
    "key-mismatch": "Secret istio-system/cacerts ca-key.pem",
    "config-secret-missing": "Secret istio-system/istio-kubeconfig",
    "istiod-not-exposed": "Gateway istio-system/istiod-gateway",
    "gateway-down": "Deployment istio-system/istio-eastwestgateway",
}
"""Fault → the object of its cause."""
PROVEN_BY = {
    "external-istiod-scaled-down": "CP-READY",
    "key-mismatch": "CERT-KEY-MATCH",
    "external-off": "CP-EXTERNAL",
    "intermediate-expires-soon": "CERT-HORIZON",
}
CONTROL_PLANES_OWN = re.compile(
    r"(\w+)(?:: (?:(?:Deployment|Pod) \S+/istiod|Secret \S+/cacerts|ConfigMap istio-system/istio\b(?!-ca-)|istiod |"
    r"gateway \S+:15012 from |CA certificate|no secret is needed|the certificate of istiod)|"
    r" (?:has no|lacks a) (?:Secret|readable))"
)
"""What is said of a control plane and of its CA, with the cluster."""


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("fault", OBJECTS)
def test_the_object_is_on_the_host(fault: str, installer: str) -> None:
    observation = good(TOPOLOGIES["external-single-network"], installer)
    broken = faults()[fault].apply(observation)
    (cause,) = diagnose(broken, judged(broken))
    assert (cause.cluster, cause.object) == ("control", OBJECTS[fault])
    commands = [c for c in re.split(r" && | \| ", cause.repair.partition("  # ")[0]) if "--context" in c]
    meant = [c for c in commands if re.search("istiod|cacerts|istio/|apply|istio-eastwestgateway|install", c)]
    assert meant
    for command in meant:
        assert f"--context {observation['control'].context} " in command, cause.repair


def test_the_config_clusters_address_is_mended_there(good_observations: Mapping[str, Observation]) -> None:
    """Its own installation has the address, and the gateway of the host the right one."""
    broken = faults()["config-cluster-address"].apply(good_observations["external-multi-network"])
    (cause,) = diagnose(broken, judged(broken))
    assert cause.cluster == "east"
    assert cause.expected.endswith("the gateway of control")
    assert f"--context {broken['east'].context} " in cause.repair
    assert f"global.remotePilotAddress={broken['control'].services[-1].ingress[0]}" in cause.repair


@pytest.mark.parametrize("fault", PROVEN_BY)
def test_findings_name_the_cluster_of_the_object(fault: str) -> None:
    """As its cause does: nobody looks for it where it is not."""
    broken = faults()[fault].apply(good(TOPOLOGIES["external-multi-network"]))
    judgements = judged(broken)
    (cause,) = diagnose(broken, judgements)
    proof = next(each for each in judgements if each.id == PROVEN_BY[fault])
    assert {proof.findings[0].cluster, cause.cluster} == {"control"}


def test_remote_secrets_stand_on_the_config_cluster() -> None:
    """That is where istiod looks for them."""
    broken = faults()["secret-missing"].apply(good(TOPOLOGIES["external-multi-network"]))
    judgements = judged(broken)
    (cause,) = diagnose(broken, judgements)
    proof = next(each for each in judgements if each.id == "RS-PRESENT")
    assert {proof.findings[0].cluster, cause.cluster} == {"east"}


def test_what_was_recorded_names_the_cluster_of_the_control_plane() -> None:
    """In what passes and in what is blocked, too."""
    seen = load(RECORDED / "faults" / "external-istiod-scaled-down.json.gz")
    found = {each.id: each for each in judged(seen)}
    said = [line for each in found.values() for line in (*each.facts, *each.explanation.splitlines())]
    assert _clusters_of_control_planes(said) == {"control", "west"}  # a remote has a cacerts, too
    assert "no control plane runs on control" in found["CERT-ISTIOD"].explanation


def _clusters_of_control_planes(said: Iterable[str]) -> set[str]:
    return {match[1] for match in map(CONTROL_PLANES_OWN.match, said) if match}


@pytest.mark.parametrize("mode", ["install", "verify-only"])
@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"ca_cert": None, "root_cert": None, "key_matches": None},
        {"keys": (*CHAPTER_FILES.all, "other.pem")},
        {"cert_chain": ()},
        {"exists": False},
    ],
    ids=["good", "unreadable", "more", "no-chain", "missing"],
)
def test_the_ca_is_named_with_the_cluster_of_its_secret(secret: dict[str, object], mode: str) -> None:
    """Also in facts, and in what says why nothing can be judged."""
    observation = good(TOPOLOGIES["external-multi-network"])
    east, held = observation.topology["east"], observation["east"].ca_secret
    assert held is not None
    changed = on(observation, east, ca_secret=held.model_copy(update=secret))
    changed = changed.model_copy(update={"asked": changed.asked.model_copy(update={"mode": mode})})
    found = [each for each in judged(changed) if each.id.startswith("CERT-")]
    said = [line for each in found for line in (*each.facts, *each.explanation.splitlines(), *map(str, each.findings))]
    said = [line.removeprefix("blocked by CERT-SECRET: ") for line in said]
    assert _clusters_of_control_planes(said) - {"west"} == {"control"}


def test_a_ca_that_only_the_control_plane_shows_stands_there() -> None:
    """Where `cacerts` can't be read; what only proxies have is on their own cluster."""
    observation = good(TOPOLOGIES["external-multi-network"])
    east = observation.topology["east"]
    planes = observation["east"].control_planes
    hidden = on(observation, east, ca_secret=None, root_config_map=None, proxies=())
    shown = {place for place, _ in renewal.in_use(hidden, east)}
    assert planes
    assert shown == {"control"}
    bare = on(observation, east, ca_secret=None, root_config_map=None, control_planes=())
    assert {place for place, _ in renewal.in_use(bare, east)} == {"east"}
