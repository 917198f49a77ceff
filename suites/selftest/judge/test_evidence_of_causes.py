"""What causes say on broken observations: what is at fault, its evidence in the words of others, its repair."""

from collections.abc import Mapping

import pytest

from harness.judge.diagnose import diagnose
from harness.model.cluster import ApiEvent, Condition, Container, ContainerLog, Pod
from harness.model.observation import Observation
from harness.model.step import Outcome, Phase
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.edit import each, edit, on, pods, west
from harness.proof.faults.mutations import faults
from suites.selftest.support.good import good
from suites.selftest.support.judgements import failed, judged

REMOTE = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
PRIMARIES = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)


def _gateway_stuck(observation: Observation, **container: object) -> Observation:
    """The gateway of the last cluster hangs in ImagePullBackOff."""
    cluster = west(observation)

    def stuck(pod: Pod) -> Pod:
        if pod.labels.get("istio") != "eastwestgateway":
            return pod
        waits = {"ready": False, "state": "waiting", "reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        state = {**waits, **container}
        containers = edit(pod.containers, lambda c: c.name == "istio-proxy", **state)
        return pod.model_copy(update={"ready": False, "phase": "Pending", "containers": containers})

    broken = pods(observation, cluster, stuck)
    unavailable = (Condition(type="Available", status="False", reason="MinimumReplicasUnavailable"),)
    workloads = edit(
        broken[cluster].workloads, lambda w: w.name == "istio-eastwestgateway", ready=0, conditions=unavailable
    )
    gone = tuple(proxy for proxy in broken[cluster].proxies if proxy.role != "istio-eastwestgateway")
    return on(broken, cluster, workloads=workloads, proxies=gone)


@pytest.mark.parametrize(
    ("container", "field", "repair"),
    [
        ({"pull_policy": "Always"}, "imagePullPolicy", '"imagePullPolicy":"IfNotPresent"'),
        ({"pull_policy": "IfNotPresent"}, "image", "delete pod"),
    ],
)
def test_image_auto_with_a_pull_policy_of_always_is_recognised(
    container: Mapping[str, object], field: str, repair: str, good_observations: Mapping[str, Observation]
) -> None:
    """The policy is at fault, not the remote that is not ready; an image that is not there, or not injected, is not."""
    broken = _gateway_stuck(good_observations[REMOTE.name], **container)
    causes = diagnose(broken, judged(broken))
    assert (causes[0].id, causes[0].field) == ("gateway-image-pull", field)
    assert repair in causes[0].repair
    assert "GW-AVAILABLE" in causes[0].explains


def test_a_gateway_that_was_not_injected_follows_from_what_keeps_injection_away(
    good_observations: Mapping[str, Observation],
) -> None:
    """Alone it wants a restart; where no control plane is installed neither it nor what is not exposed is a cause."""
    stuck = _gateway_stuck(good_observations[PRIMARIES.name], pull_policy="Always", image="auto")
    (cause,) = diagnose(stuck, judged(stuck))
    assert (cause.id, cause.found) == ("gateway-not-injected", "auto")
    assert "rollout restart deployment/istio-eastwestgateway" in cause.repair
    cluster = west(stuck)
    nothing = {
        "workloads": tuple(w for w in stuck[cluster].workloads if w.name != "istiod"),
        "pods": tuple(pod for pod in stuck[cluster].pods if pod.labels.get("app") != "istiod"),
        "config": (),
        "webhooks": (),
        "mesh_config": (),
        "control_planes": (),
        "proxies": (),
    }
    step = stuck.steps[0].model_copy(
        update={"title": "Install Istio", "cluster": "west", "outcome": Outcome.FAILED, "detail": "unknown field x"}
    )
    broken = on(stuck, cluster, **nothing).model_copy(update={"steps": (step,)})
    (cause,) = diagnose(broken, judged(broken))
    assert (cause.id, cause.cluster) == ("control-plane-down", "west")
    assert "step failed: Install Istio: unknown field x" in cause.evidence
    assert {"GW-AVAILABLE", "GW-EXPOSE-SERVICES", "CONFIG-CONSISTENT"} <= set(cause.explains)


def test_a_pending_address_of_cloud_provider_kind_says_restart(good_observations: Mapping[str, Observation]) -> None:
    """It keeps its API client of a cluster that was deleted and created again under the same name."""
    observation = good_observations[REMOTE.name]
    asked = observation.asked.model_copy(update={"load_balancer": "cloud-provider-kind"})
    said = ("error node controller: dial tcp 127.0.0.1:43211: connect: connection refused",)
    changed = observation.model_copy(update={"asked": asked, "load_balancer_log": said})
    broken = faults()["gateway-no-address"].mutated(changed)
    (cause,) = diagnose(broken, judged(broken))
    assert "<pending>" in cause.found
    assert "restart cloud-provider-kind" in cause.repair
    assert "connection refused" in " ".join(cause.evidence)


def test_a_load_balancer_that_ran_before_is_evidence(good_observations: Mapping[str, Observation]) -> None:
    """One that the user started may know other clusters of these names."""
    observation = good_observations[REMOTE.name]
    step = observation.steps[0].model_copy(
        update={
            "phase": Phase.LOAD_BALANCER,
            "title": "Start cloud-provider-kind",
            "outcome": Outcome.SKIPPED,
            "detail": "it runs already (process 7), and was not started here",
        }
    )
    broken = faults()["gateway-no-address"].mutated(observation.model_copy(update={"steps": (step,)}))
    (cause,) = diagnose(broken, judged(broken))
    assert "it runs already (process 7)" in " ".join(cause.evidence)


@pytest.mark.parametrize(
    ("installer", "command"),
    [("istioctl", "--set values.pilot.cni.enabled=true"), ("sail", '{"cni":{"enabled":true}}')],
)
def test_a_cni_plugin_that_injection_does_not_know_of_is_named(installer: str, command: str) -> None:
    """Pods still get istio-init, and nothing else is wrong."""
    observation = good(REMOTE, installer)
    init = Container(name="istio-init", image="proxyv2", init=True, state="terminated", reason="Completed")

    def with_init(pod: Pod) -> Pod:
        kept = tuple(container for container in pod.containers if container.name != "istio-validation")
        return pod.model_copy(update={"containers": (init, *kept)}) if pod.namespace == "sample" else pod

    broken = pods(observation, west(observation), with_init)
    (cause,) = diagnose(broken, judged(broken))
    assert (cause.id, cause.cluster, cause.explains) == ("cni-not-enabled", "west", ("WL-INJECTED",))
    assert command in cause.repair
    # A remote's pods are injected by its primary.
    assert "kind-east" in cause.repair


def test_a_control_plane_that_crashes_is_explained_by_its_own_words(
    good_observations: Mapping[str, Observation],
) -> None:
    """The end of its log, and how it ended."""
    observation = good_observations[PRIMARIES.name]
    broken, cluster = faults()["control-plane-down"].apply(observation), west(observation)
    crashed = {
        "reason": "CrashLoopBackOff",
        "message": "",
        "restarts": 4,
        "last_end": "Error, exit code 255",
        "state": "waiting",
    }

    def crash(pod: Pod) -> Pod:
        istiod = pod.labels.get("app") == "istiod"
        containers = edit(pod.containers, lambda c: c.name == "discovery", **crashed) if istiod else pod.containers
        return pod.model_copy(update={"containers": containers})

    broken = pods(broken, cluster, crash)
    (pod,) = (pod for pod in broken[cluster].pods if pod.labels.get("app") == "istiod")
    said = ContainerLog(namespace=pod.namespace, pod=pod.name, container="discovery", lines=("fatal no such flag",))
    broken = on(broken, cluster, logs=(said,))
    (cause,) = diagnose(broken, judged(broken))
    told = " ".join(cause.evidence)
    assert cause.id == "control-plane-down"
    assert "CrashLoopBackOff, 4 restarts; last: Error, exit code 255" in told
    assert f"log {pod.name} discovery: fatal no such flag" in told
    assert "--previous" in cause.repair


def test_where_requests_went_is_evidence_for_what_nothing_else_explains(
    good_observations: Mapping[str, Observation],
) -> None:
    """The clients' own proxies have logged it."""
    observation = good_observations[REMOTE.name]
    line = "access helloworld:5000: 503 UF, 10.0.0.9:15443 of outbound|5000||helloworld"
    log = ContainerLog(namespace="sample", pod="sleep-1", container="istio-proxy", lines=(line, "warn other"))
    (cause,) = diagnose(on(observation, west(observation), logs=(log,)), failed("TR-REACH"))
    assert (
        cause.evidence[-1] == "log west sleep-1: helloworld:5000: 503 UF, 10.0.0.9:15443 of outbound|5000||helloworld"
    )


def test_what_clients_know_is_evidence(good_observations: Mapping[str, Observation]) -> None:
    """The addresses that a missing label makes istiod hand out."""
    broken = faults()["network-unlabelled"].apply(good_observations[PRIMARIES.name])
    (cause,) = diagnose(broken, judged(broken))
    assert any("knows helloworld at" in line for line in cause.evidence)


def test_the_operators_reason_is_evidence() -> None:
    """RemoteIstiodNotReady's reason stands in the webhook's annotation; the cause is what makes it so."""
    broken = faults()["istiod-not-exposed"].mutated(good(REMOTE, "sail"))
    causes = diagnose(broken, judged(broken))
    assert [cause.id for cause in causes] == ["istiod-not-exposed"]
    assert "CP-READY" in causes[0].explains
    # Where nothing else explains it, the annotation is what is shown.
    only_annotation = faults()["discovery-address"].mutated(good(REMOTE, "sail"))
    healthy = good(REMOTE, "sail")
    kept = on(
        healthy, "west", sail=only_annotation["west"].sail[:0] + _not_ready(healthy), webhooks=_annotated(healthy)
    )
    (cause,) = [c for c in diagnose(kept, judged(kept)) if c.id == "istio-not-ready"]
    assert "caBundle hasn't been set" in " ".join(cause.evidence)


def _not_ready(observation: Observation) -> tuple[object, ...]:
    condition = (Condition(type="Ready", status="False", reason="RemoteIstiodNotReady", message="not ready"),)
    return each(
        observation["west"].sail,
        lambda r: r.model_copy(update={"conditions": condition}) if r.kind == "Istio" else r,
    )


def _annotated(observation: Observation) -> tuple[object, ...]:
    message = "caBundle hasn't been set; check if the remote istiod can access this cluster"
    return each(
        observation["west"].webhooks,
        lambda w: w.model_copy(update={"annotations": {"sailoperator.io/readinessProbe.message": message}}),
    )


def test_evidence_is_a_few_short_lines(good_observations: Mapping[str, Observation]) -> None:
    """However much is said, a cause stays readable."""
    observation = good_observations[PRIMARIES.name]
    broken = faults()["gateway-no-address"].mutated(observation)
    event = ApiEvent(
        namespace="istio-system",
        object="Service/istio-eastwestgateway",
        reason="AllocationFailed",
        message="no available IPs " * 50,
        count=9,
        last_seen=None,
    )
    events = tuple(event.model_copy(update={"reason": f"Failed{n}"}) for n in range(50))
    broken = on(broken, west(broken), events=events)
    (cause,) = diagnose(broken, judged(broken))
    assert 1 < len(cause.evidence) <= 6
    assert all(len(line) <= 240 for line in cause.evidence)
