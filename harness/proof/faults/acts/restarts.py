"""Pods that are started anew because of what was changed, and proxies that connect again."""

from collections.abc import Iterable

from harness.base.parallel import in_parallel
from harness.kube.client import Object
from harness.mesh.context import environment_faults, run_selector
from harness.mesh.gateways import NAME as GATEWAY
from harness.mesh.restart import end_pods, restart_deployment
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.observe import api_objects
from harness.proof.faults.act import Stage
from harness.proof.faults.acts.waits import await_rollout, await_true, control_planes

ISTIOD = "istiod"


def restart(stage: Stage, cluster: Cluster, namespace: str, *names: str, ready: bool = True) -> None:
    """Start the pods of Deployments anew, side by side.

    Args:
        stage: the mesh.
        cluster: where.
        namespace: of the Deployments.
        names: of the Deployments; default those of the namespace that the run has made.
        ready: wait until they are ready; else only until the old pods are gone.

    Raises:
        StepError: they did not in time.
    """
    kube, timeout = stage.kube(cluster), AVAILABLE_SECONDS * stage.mesh.settings.timeout_scale
    own = {"label_selector": run_selector(stage.mesh.settings)}
    found = names or tuple(each["metadata"]["name"] for each in kube.list("apps/v1", "Deployment", namespace, **own))
    with stage.mesh.log.step(Phase.FAULTS, f"Restart {', '.join(found)}", cluster.name) as step, environment_faults():
        in_parallel(lambda name: restart_deployment(kube, namespace, name, timeout, step, ready=ready), found)


def restart_istiod(stage: Stage, primary: Cluster) -> None:
    """Start a control plane anew, and wait until every proxy that it serves has connected again.

    Raises:
        StepError: they did not in time.
    """
    restart(stage, primary, stage.mesh.settings.system_namespace, ISTIOD)
    await_connected(stage, primary)


def run_istiod_as(stage: Stage, primary: Cluster, change: Object, *, ready: bool = True) -> None:
    """Change a control plane's Deployment, and start it anew.

    A rollout would keep the former pods until the new ones are ready, and on a small node they have no room meanwhile.

    Args:
        stage: the mesh.
        primary: where.
        change: JSON merge patch, which says `spec.replicas`.
        ready: wait until it is ready and its proxies have connected again; else only until the former pods are gone.

    Raises:
        StepError: they did not in time.
    """
    system, timeout = stage.mesh.settings.system_namespace, AVAILABLE_SECONDS * stage.mesh.settings.timeout_scale
    kube = stage.kube(primary)
    with stage.mesh.log.step(Phase.FAULTS, "End istiod", primary.name) as step, environment_faults():
        kube.merge("apps/v1", "Deployment", ISTIOD, {"spec": {"replicas": 0}}, system)
        end_pods(kube, system, f"app={ISTIOD}", timeout, step)
        kube.merge("apps/v1", "Deployment", ISTIOD, change, system)
    if ready:
        await_rollout(stage, primary, system, ISTIOD)
        await_connected(stage, primary)


def restart_gateways(stage: Stage, clusters: Iterable[Cluster]) -> None:
    """Start the east-west gateways of those of these clusters that have one anew."""
    system = stage.mesh.settings.system_namespace
    having = [cluster for cluster in clusters if stage.mesh.topology.has_gateway(cluster)]
    in_parallel(lambda cluster: restart(stage, cluster, system, GATEWAY), having)


def restart_sample(stage: Stage, clusters: Iterable[Cluster], *, ready: bool = True) -> None:
    """Start the sample's pods on these clusters anew."""
    sample = stage.mesh.settings.sample_namespace
    in_parallel(lambda cluster: restart(stage, cluster, sample, ready=ready), clusters)


def await_connected(stage: Stage, primary: Cluster) -> None:
    """Wait until every ready proxy of the clusters that a control plane serves has its configuration from it.

    They are told by their pods' names alone: what a proxy calls its cluster may be what is broken.

    Raises:
        StepError: one had not in time.
    """
    title = "Wait until its proxies have connected again"
    await_true(stage, primary, title, lambda: _unconnected(stage, primary), AVAILABLE_SECONDS)


def _unconnected(stage: Stage, primary: Cluster) -> str:
    synced = {
        row.proxy
        for plane in control_planes(stage, primary)
        for row in plane.proxies
        if row.types.get("CDS") == row.types.get("LDS") == "SYNCED"
    }
    missing = [
        f"{cluster.name}: {seen.name}"
        for cluster in stage.mesh.topology.served_by(primary)
        for namespace in (stage.mesh.settings.system_namespace, stage.mesh.settings.sample_namespace)
        for seen in map(api_objects.pod, stage.kube(cluster).list("v1", "Pod", namespace))
        if seen.ready and not seen.deleting and expectations.has_proxy(seen)
        if f"{seen.name}.{seen.namespace}" not in synced
    ]
    return f"not connected: {', '.join(missing)}" if missing else ""
