"""Causes that keep a control plane from being ready."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import (
    IMAGE_REASONS,
    failed_steps,
    few,
    logged_by_control_planes,
    logged_elsewhere,
    read,
    readiness,
    short,
    trouble,
    waiting,
)
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import install, kubectl, noted
from harness.model import expectations, revisions
from harness.model.cluster import Pod, Subject, Workload
from harness.model.observation import Observation
from harness.model.topology import Cluster


@cause("control-plane-down", Layer.CONTROL_PLANE, "CP-READY", effect=True)
def control_plane_down(observation: Observation) -> Iterator[Found]:
    """No control plane runs on a primary.

    istiod's Deployment is missing or none of its pods is ready. Nothing is injected or configured; proxies that run go
    on with what they have, for as long as their certificates last.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, Subject.PODS, among=observation.topology.primaries):
        deployments = revisions.workloads(observation, cluster, expectations.istiod_workloads(observed))
        if any(deployment.available for deployment in deployments):
            continue
        system = observation.asked.system_namespace
        deployment = next(iter(deployments), None)
        pods = expectations.istiod_pods(observed, deployment.namespace if deployment else None)
        evidence = trouble(observed, deployment, pods)
        scaled = deployment is not None and deployment.desired == 0
        missing = "scaled to 0" if scaled else "no such Deployment" if deployment is None else "not Available"
        named = f"{deployment.namespace}/{deployment.name}" if deployment else f"{system}/istiod"
        yield Found(
            cluster=cluster.name,
            object=f"Deployment {named}",
            field="condition Available",
            expected="True",
            found=short(evidence, missing),
            repair=_start(observation, cluster, deployment, pods),
            change=f"Let Deployment {named} become available: {short(evidence, missing)}",
            evidence=few(evidence, logged_by_control_planes(observed), failed_steps(observation, cluster.name)),
        )


def _start(observation: Observation, cluster: Cluster, deployment: Workload | None, pods: tuple[Pod, ...]) -> str:
    """What brings a control plane up, by what keeps it down."""
    place = observation.topology.control_plane_of(cluster)
    observed, resource = observation[place], expectations.istio_resource(observation[place])
    if deployment is None:
        if resource:
            return noted(kubectl(observed, f"describe istio/{resource.name}"), "mend what its conditions name")
        return install(observation, place)
    where = ("-n", deployment.namespace)
    if deployment.desired == 0:
        return kubectl(observed, *where, f"scale deployment/{deployment.name} --replicas=1")
    stuck = next(filter(None, map(waiting, pods)), None)
    if stuck and stuck.reason in IMAGE_REASONS:
        image = next(_images_that_run(observation), "IMAGE")
        setting = "spec.values.pilot.image of the Istio resource" if resource else "values.pilot.image"
        return noted(
            kubectl(observed, *where, f"set image deployment/{deployment.name} discovery={image}"),
            f"or let the nodes pull {stuck.image}; for good: {setting}",
        )
    if stuck and stuck.restarts:
        last = kubectl(observed, *where, f"logs deployment/{deployment.name} --previous --tail=20")
        return noted(last, "mend what it says at last")
    return kubectl(observed, *where, "describe pods -l app=istiod")


def _images_that_run(observation: Observation) -> Iterator[str]:
    """The images of control planes that run, anywhere in the mesh."""
    for observed in observation.clusters:
        for pod in expectations.istiod_pods(observed):
            if (container := pod.container("discovery")) and container.ready:
                yield container.image


@cause("istio-not-ready", Layer.CONTROL_PLANE, "CP-READY", effect=True, fallback=True)
def istio_not_ready(observation: Observation) -> Iterator[Found]:
    """The operator does not report the Istio resource Ready.

    Reason and message of its conditions say why; on a remote the reason behind RemoteIstiodNotReady is in annotations
    of the injection webhook (sailoperator.io/readinessProbe.*), which the operator calls to find out.
    """
    for cluster, observed in read(observation, Subject.SAIL):
        for resource in observed.sail:
            ready = next((condition for condition in resource.conditions if condition.type == "Ready"), None)
            if resource.kind != "Istio" or (ready is not None and ready.status == "True"):
                continue
            said = [f"{c.type}={c.status} {c.reason}: {c.message}" for c in resource.conditions if c.status != "True"]
            yield Found(
                cluster=cluster.name,
                object=f"{resource.kind} {resource.name}",
                field="condition Ready",
                expected="True",
                found=f"{ready.status} {ready.reason}: {ready.message}" if ready else "no condition Ready",
                repair=noted(kubectl(observed, f"describe istio/{resource.name}"), "mend what its conditions name"),
                evidence=few(readiness(observed), said, logged_elsewhere(observation, observed)),
            )
