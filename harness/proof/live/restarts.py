"""Restarts of what a change concerns, and the wait until proxies are connected again."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.mesh.context import environment_faults, run_selector
from harness.mesh.gateways import NAME as GATEWAY
from harness.mesh.restart import end_pods, restart_deployment
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.observe import api_objects
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import await_quiet
from harness.proof.live.waits import await_rollout, await_true, control_planes

ISTIOD = "istiod"


def restart(live: LiveMesh, cluster: Cluster, namespace: str, *names: str, ready: bool = True) -> None:
    """Restart Deployments side by side.

    Args:
        live: the mesh.
        cluster: where.
        namespace: of the Deployments.
        names: of the Deployments; default those of the namespace that the run has made.
        ready: wait until they are ready; else only until the old pods are gone.

    Raises:
        StepError: they are not in time.
    """
    kube, timeout = live.kube(cluster), AVAILABLE_SECONDS * live.mesh.settings.timeout_scale
    own = {"label_selector": run_selector(live.mesh.settings)}
    found = names or tuple(each["metadata"]["name"] for each in kube.list("apps/v1", "Deployment", namespace, **own))
    with live.mesh.log.step(Phase.FAULTS, f"Restart {', '.join(found)}", cluster.name) as step, environment_faults():
        in_parallel(lambda name: restart_deployment(kube, namespace, name, timeout, step, ready=ready), found)


def restart_istiod(live: LiveMesh, primary: Cluster) -> None:
    """Restart a control plane, and wait until every proxy that it serves is connected again.

    Raises:
        StepError: one is not in time.
    """
    restart(live, live.mesh.topology.control_plane_of(primary), live.mesh.settings.system_namespace, ISTIOD)
    await_connected(live, primary)


def run_istiod_as(live: LiveMesh, primary: Cluster, change: Object, *, ready: bool = True) -> None:
    """Restart a control plane with its Deployment changed.

    A rollout would keep the former pods until the new ones are ready, and on a small node they have no room meanwhile.

    Args:
        live: the mesh.
        primary: where.
        change: JSON merge patch, which says `spec.replicas`.
        ready: wait until it is ready and its proxies are connected again; else only until the former pods are gone.

    Raises:
        StepError: it is not in time.
    """
    system, timeout = live.mesh.settings.system_namespace, AVAILABLE_SECONDS * live.mesh.settings.timeout_scale
    place = live.mesh.topology.control_plane_of(primary)
    kube = live.kube(place)
    with live.mesh.log.step(Phase.FAULTS, "End istiod", place.name) as step, environment_faults():
        kube.merge("apps/v1", "Deployment", ISTIOD, {"spec": {"replicas": 0}}, system)
        end_pods(kube, system, f"app={ISTIOD}", timeout, step)
        kube.merge("apps/v1", "Deployment", ISTIOD, change, system)
    if ready:
        await_rollout(live, place, system, ISTIOD)
        await_connected(live, primary)


def restart_gateways(live: LiveMesh, clusters: Iterable[Cluster]) -> None:
    """Restart the east-west gateways of these clusters."""
    having = [cluster for cluster in clusters if live.mesh.topology.has_gateway(cluster)]
    in_parallel(lambda cluster: restart(live, cluster, live.gateway_namespace(cluster), GATEWAY), having)


def restart_sample(live: LiveMesh, clusters: Iterable[Cluster], *, ready: bool = True) -> None:
    """Restart the sample on these clusters."""
    sample = live.mesh.settings.sample_namespace
    in_parallel(lambda cluster: restart(live, cluster, sample, ready=ready), clusters)


@contextmanager
def restarting_sample(live: LiveMesh, change: AbstractContextManager[None]) -> Iterator[None]:
    """Make a change that pods take up when they start: restart the sample once it is made, and once it is undone."""
    try:
        with change:
            renew_sample(live)
            yield
    finally:
        renew_sample(live)


def renew_sample(live: LiveMesh) -> None:
    """Restart the sample, and wait until its proxies are connected and receive nothing new."""
    restart_sample(live, live.mesh.topology.clusters)
    in_parallel(lambda primary: await_connected(live, primary), live.mesh.topology.primaries)
    await_quiet(live)


def await_connected(live: LiveMesh, primary: Cluster) -> None:
    """Wait until every ready proxy of the clusters that a control plane serves has its configuration from it.

    Proxies are identified by their pods' names alone: what a proxy calls its cluster may be what is broken.

    Raises:
        StepError: one has not in time.
    """
    title = "Wait until its proxies are connected again"
    await_true(live, primary, title, lambda: _unconnected(live, primary), AVAILABLE_SECONDS)


def _unconnected(live: LiveMesh, primary: Cluster) -> str:
    synced = {
        row.proxy
        for plane in control_planes(live, primary)
        for row in plane.proxies
        if row.types.get("CDS") == row.types.get("LDS") == "SYNCED"
    }
    missing = [
        f"{cluster.name}: {seen.name}"
        for cluster in live.mesh.topology.served_by(primary)
        for namespace in (live.mesh.settings.system_namespace, live.mesh.settings.sample_namespace)
        for seen in map(api_objects.pod, live.kube(cluster).list("v1", "Pod", namespace))
        if seen.ready and not seen.deleting and expectations.has_proxy(seen)
        if f"{seen.name}.{seen.namespace}" not in synced
    ]
    return f"not connected: {', '.join(missing)}" if missing else ""
