"""Restarts pods of the mesh, as `kubectl rollout restart` does, without waiting for the old ones to drain."""

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, Object, condition
from harness.mesh.context import Mesh, run_selector, step
from harness.mesh.gateways import GATEWAY_NAME_LABEL, NAME
from harness.mesh.gone import still_there
from harness.mesh.readiness import deployment_pending, why_unready
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

GRACE_SECONDS = 1


def everything(mesh: Mesh) -> None:
    """Restart every control plane, then every gateway, then every workload of the sample."""
    system, sample = mesh.settings.system_namespace, mesh.settings.sample_namespace
    workloads = run_selector(mesh.settings)
    gateway = f"{GATEWAY_NAME_LABEL}={NAME}" if mesh.settings.ambient else f"app={NAME}"
    for namespace, pods in ((system, "app=istiod"), (system, gateway), (sample, workloads)):
        in_parallel(
            lambda cluster, namespace=namespace, pods=pods: restart(mesh, cluster, namespace, pods),  # type: ignore[misc]
            mesh.topology.clusters,
        )


@step(Phase.MESH)
def restart(mesh: Mesh, cluster: Cluster, opened: OpenStep, namespace: str, selector: str) -> None:
    """Restart pods."""
    kube = mesh.kube(cluster)
    found = kube.list("apps/v1", "Deployment", namespace, label_selector=selector)
    names = [each["metadata"]["name"] for each in found]
    opened.note(f"{namespace}: {', '.join(names) or 'none'}")
    timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
    in_parallel(lambda name: restart_deployment(kube, namespace, name, timeout, opened), names)


def restart_deployment(
    kube: KubeApi, namespace: str, name: str, timeout: float, opened: OpenStep, *, ready: bool = True
) -> None:
    """End a Deployment's pods and wait until others have taken their place.

    Args:
        kube: the cluster.
        namespace: of the Deployment.
        name: of the Deployment.
        timeout: seconds.
        opened: told what is being waited for.
        ready: wait until the new ones are ready; else only until the old ones are gone.

    Raises:
        StepError: they did not in time.
    """
    deployment = kube.get("apps/v1", "Deployment", name, namespace)
    if deployment is None:
        raise StepError(f"Deployment {namespace}/{name} does not exist")
    labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    end_pods(kube, namespace, labels, timeout, opened)
    if not ready:
        return

    def pending(seen: Object | None) -> str:
        return deployment_pending(seen) or _unready(kube, namespace, labels, seen)

    kube.wait(
        "apps/v1",
        "Deployment",
        name,
        namespace,
        pending=pending,
        timeout=timeout,
        step=opened,
        explain=lambda: why_unready(kube, "Deployment", namespace, name),
    )


def end_pods(kube: KubeApi, namespace: str, labels: str, timeout: float, opened: OpenStep) -> None:
    """End pods without letting them drain, and wait until they are gone.

    Raises:
        StepError: one is not in time.
    """
    doomed = [pod["metadata"]["name"] for pod in kube.list("v1", "Pod", namespace, label_selector=labels)]
    kube.delete_pods(namespace, GRACE_SECONDS, labels)
    for pod in doomed:
        kube.wait("v1", "Pod", pod, namespace, pending=still_there, timeout=timeout, step=opened)


def _unready(kube: KubeApi, namespace: str, labels: str, deployment: Object | None) -> str:
    """What the Deployment's status may not tell yet: whether the pods that are there are ready."""
    wanted = ((deployment or {}).get("spec") or {}).get("replicas", 1)
    pods = kube.list("v1", "Pod", namespace, label_selector=labels)
    ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
    return "" if len(ready) >= wanted else f"{len(ready)} of {wanted} pods are ready"
