"""Every repair is a line that a shell understands, against the clusters of the run, with every name filled in."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.diagnose.registry import detectors
from harness.model.cluster import ClusterObservation, Condition
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.proof.faults.edit import edit, on, west
from harness.proof.faults.mutations import faults
from suites.selftest.proof.test_faults import _whole
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.judgements import judged

PROGRAMS = {"kubectl", "istioctl", "echo", "grep", "docker", "ip", "pkill", "cloud-provider-kind"}
BACKGROUND = "cloud-provider-kind &"
NEED_CONTEXT = {"kubectl", "istioctl"}
SEPARATORS = {"&&", "||", ";", "|", "&"}
KEPT = {"name", "context", "api_server", "kubernetes_version", "readings"}


def _commands(repair: str) -> Iterator[list[str]]:
    """The simple commands of a line, without its remark."""
    words = shlex.shlex(repair.replace(BACKGROUND, BACKGROUND[:-2]), posix=True, punctuation_chars="&|;")
    words.whitespace_split, words.commenters = True, "#"
    command: list[str] = []
    for word in words:
        if word in SEPARATORS:
            yield command
            command = []
        else:
            command.append(word)
    if command or not repair.startswith("#"):
        yield command


def _check(repair: str, observation: Observation) -> None:
    assert "\n" not in repair
    assert not re.search(r"<[a-z]|…|\bNone\b", repair.partition("  # ")[0]), repair
    contexts = {cluster.context for cluster in observation.clusters}
    commands = list(_commands(repair))
    assert commands or repair.startswith("# "), repair
    for words in commands:
        assert words and words[0] in PROGRAMS, repair
        if words[0] in NEED_CONTEXT and words[1] != "manifest":
            assert words[1] == "--context" and words[2] in contexts, repair
        for patch in (words[index + 1] for index, word in enumerate(words) if word == "-p"):
            assert json.loads(patch), repair
        if words[0] == "echo":
            assert json.loads(words[1])["kind"], repair


def _every(observation: Observation) -> list[str]:
    """The repairs of everything that may be broken in it."""
    return [found.repair for detector in detectors() for found in detector.find(observation)]


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("name", ["mixed", "primary-remote-single-network"])
def test_repairs_of_every_fault_can_be_pasted(name: str, installer: str) -> None:
    """Whatever installed the mesh; a shell parses all of them at once."""
    observation = _whole(good(TOPOLOGIES[name], installer))
    repairs: dict[str, None] = {}
    for fault in faults().values():
        if fault.mutate and fault.concerns(observation):
            broken = fault.apply(observation)
            for repair in _every(broken):
                _check(repair, broken)
                repairs[repair] = None
    assert len(repairs) > 30
    script = "\n".join(repairs)
    parsed = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("field", [name for name in ClusterObservation.model_fields if name not in KEPT])
def test_repairs_of_what_is_missing_altogether_can_be_pasted(field: str, installer: str) -> None:
    """A whole kind of object is gone on one cluster."""
    observation = good(TOPOLOGIES["mixed"], installer)
    for cluster in observation.topology.clusters:
        broken = on(observation, cluster, **{field: ClusterObservation.model_fields[field].get_default()})
        for repair in _every(broken):
            _check(repair, broken)


def test_a_repair_goes_through_what_installed_the_mesh() -> None:
    """An operator takes back what is changed behind it; without one there is no resource to change."""
    topology: Topology = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)

    def repair(fault: str, installer: str) -> str:
        broken = faults()[fault].apply(_whole(good(topology, installer)))
        return diagnose(broken, judged(broken))[0].repair

    for fault in ("external-off", "injection-path", "discovery-address"):
        assert "patch istio/default --type=merge" in repair(fault, "sail"), fault
        assert "istioctl --context" in repair(fault, "istioctl"), fault
    assert '"externalIstiod":true' in repair("external-off", "sail")


def test_a_new_ca_is_taken_up_by_every_cluster_that_it_signs_for(
    good_observations: Mapping[str, Observation],
) -> None:
    """On a primary istiod first, then its own and its remotes' workloads; on a remote nobody."""
    observation = good_observations["primary-remote-multi-network"]
    broken = faults()["key-mismatch"].apply(observation)
    (cause,) = diagnose(broken, judged(broken))
    commands = [" ".join(words) for words in _commands(cause.repair)]
    contexts = {name: observation[name].context for name in ("east", "west")}
    istiod = f"kubectl --context {contexts['east']} -n istio-system rollout restart deployment/istiod"
    assert commands.index(istiod) < commands.index(
        f"kubectl --context {contexts['west']} -n sample rollout restart deployment"
    )
    remote = faults()["root-differs-remote"].apply(observation)
    (cause,) = diagnose(remote, judged(remote))
    assert "restart" not in cause.repair


def test_a_control_plane_without_an_image_gets_that_of_another(good_observations: Mapping[str, Observation]) -> None:
    """The other primary's runs."""
    observation = good_observations["multi-primary-multi-network"]
    broken = faults()["control-plane-down"].apply(observation)
    (cause,) = diagnose(broken, judged(broken))
    image = next(c.image for pod in observation["east"].pods if (c := pod.container("discovery")))
    assert f"set image deployment/istiod discovery={image}" in cause.repair


def test_a_port_that_the_gateways_service_lacks_is_added(good_observations: Mapping[str, Observation]) -> None:
    """No firewall is to blame for that."""
    observation = good_observations["multi-primary-multi-network"]
    broken = faults()["gateway-filtered-15443"].apply(observation)
    (cause,) = diagnose(broken, judged(broken))
    name, target = "istio-eastwestgateway", cause.cluster
    assert "curl -sv" in cause.repair
    service = broken[target].service("istio-system", name)
    assert service
    fewer = tuple(port for port in service.ports if port.port != 15443)
    services = edit(broken[target].services, lambda s: s.name == name, ports=fewer)
    lacking = on(broken, broken.topology[target], services=services)
    (cause,) = diagnose(lacking, judged(lacking))
    assert '"port":15443' in cause.repair and "patch service/istio-eastwestgateway" in cause.repair


def test_the_message_of_a_condition_is_no_command(good_observations: Mapping[str, Observation]) -> None:
    """What clusters say stands in what was found and in the evidence, never in what is to be pasted."""
    hostile = "'; rm -rf / #"
    observation = good(preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI), "sail")
    unready = (Condition(type="Ready", status="False", reason=hostile, message=hostile),)
    sail = edit(observation["west"].sail, lambda r: r.kind == "Istio", conditions=unready)
    broken = on(observation, west(observation), sail=sail)
    causes = diagnose(broken, judged(broken))
    assert causes and all("rm -rf" not in cause.repair for cause in causes)
