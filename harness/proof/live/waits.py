"""Waits for what can't be watched: endpoints of clients' proxies, proxies connected to istiod, rollouts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from harness.base.parallel import in_parallel
from harness.base.waiting import wait_until
from harness.experiments.testbed import ready_pods
from harness.kube.api import Object, TransportError
from harness.mesh.context import environment_faults
from harness.mesh.gone import still_there
from harness.mesh.readiness import await_deployment
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.proxy import ControlPlane
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.observe import api_objects, control_plane
from harness.observe.proxies import admin, clusters_in
from harness.proof.live.live_mesh import LiveMesh

SECONDS = 60.0
"""For configuration to arrive, and for a stream that has lost its peer to end: 40 s of keep-alive at most."""
ASK_SECONDS = 15.0
LOOKED_AT = "eastwest/looked-at"
_PAUSE = 0.5
Endpoint = tuple[str, int, int, int]
"""Address, port, weight, priority."""


def await_true(
    live: LiveMesh, cluster: Cluster, title: str, pending: Callable[[], str], seconds: float = SECONDS
) -> None:
    """Ask until nothing is pending.

    Args:
        live: the mesh.
        cluster: the one it concerns.
        title: what is waited for.
        pending: says what is still missing, empty when nothing is.
        seconds: how long, before the run's scale.

    Raises:
        StepError: the time is over.
    """
    limit = seconds * live.mesh.settings.timeout_scale
    with live.mesh.log.step(Phase.FAULTS, title, cluster.name) as opened, environment_faults():
        wait_until(lambda: _told(pending), limit, pause_seconds=_PAUSE, waiting=opened.waiting)


def await_each(
    live: LiveMesh, clusters: Iterable[Cluster], title: str, pending: Callable[[Cluster], str], seconds: float = SECONDS
) -> None:
    """`await_true` for several clusters side by side.

    Raises:
        StepError: the time is over for one of them.
    """
    in_parallel(lambda cluster: await_true(live, cluster, title, lambda: pending(cluster), seconds), clusters)


def _told(pending: Callable[[], str]) -> str:
    try:
        return pending()
    except TransportError as failed:
        return str(failed)


def sync_volumes(live: LiveMesh, cluster: Cluster, namespace: str, pod: str) -> None:
    """Make the kubelet update the ConfigMaps and Secrets that a pod mounts.

    It does so whenever the pod's own object changes, else about once a minute.
    """
    stamp = {"metadata": {"annotations": {LOOKED_AT: datetime.now(UTC).isoformat()}}}
    live.kube(cluster).merge("v1", "Pod", pod, stamp, namespace)


def ask(live: LiveMesh, cluster: Cluster, namespace: str, app: str, path: str) -> Iterator[Any]:
    """What the Envoy of each ready pod of an app answers on its admin interface.

    Raises:
        TransportError: one can't be asked.
    """
    kube = live.kube(cluster)
    for pod in ready_pods(kube, namespace, app):
        limit = ASK_SECONDS * live.mesh.settings.timeout_scale
        yield admin(kube, namespace, pod["metadata"]["name"], (path,), limit).get(path)


def endpoints(live: LiveMesh, client: Cluster) -> frozenset[Endpoint]:
    """What the proxies of a cluster's sleep know of helloworld.

    Raises:
        TransportError: they can't be asked.
    """
    sample = live.mesh.settings.sample_namespace
    answers = ask(live, client, sample, expectations.SLEEP, clusters_in(sample))
    return frozenset(found for answer in answers for found in helloworld_endpoints(answer, sample))


def helloworld_endpoints(answer: Any, namespace: str) -> frozenset[Endpoint]:
    """Helloworld's endpoints in the answer of Envoy's `clusters?format=json`. Pure."""
    prefix = f"outbound|{expectations.HELLOWORLD_PORT}||{expectations.HELLOWORLD}.{namespace}.svc."
    return frozenset(
        (
            str(address.get("address")),
            int(address.get("port_value") or 0),
            int(host.get("weight") or 1),
            int(host.get("priority") or 0),
        )
        for found in (answer or {}).get("cluster_statuses") or ()
        if found["name"].startswith(prefix)
        for host in found.get("host_statuses") or ()
        if (address := (host.get("address") or {}).get("socket_address") or {})
    )


@contextmanager
def felt(live: LiveMesh, clients: Iterable[Cluster], change: AbstractContextManager[None]) -> Iterator[None]:
    """Make a change; wait until these clients' proxies have other endpoints, and once it is undone, their former ones.

    Raises:
        StepError: they don't in time.
    """
    before = {client: endpoints(live, client) for client in clients}

    def other(client: Cluster) -> str:
        return "they are as before" if endpoints(live, client) == before[client] else ""

    def former(client: Cluster) -> str:
        return "" if (found := endpoints(live, client)) == before[client] else f"endpoints are {sorted(found)}"

    with change:
        await_each(live, before, "Wait until clients have other endpoints of helloworld", other)
        yield
    await_each(live, before, "Wait until clients have their former endpoints of helloworld", former)


def connected(live: LiveMesh, primary: Cluster, cluster: Cluster) -> frozenset[str]:
    """The proxies of a cluster that are connected to a primary's control planes.

    Raises:
        TransportError: they can't be asked.
    """
    rows = (row for plane in control_planes(live, primary) for row in plane.proxies)
    return frozenset(row.proxy for row in rows if row.cluster_id == cluster.cluster_name)


def control_planes(live: LiveMesh, primary: Cluster) -> list[ControlPlane]:
    """What a primary's control planes say of themselves.

    Raises:
        TransportError: they can't be asked.
    """
    kube, system = live.kube(live.mesh.topology.control_plane_of(primary)), live.mesh.settings.system_namespace
    limit = ASK_SECONDS * live.mesh.settings.timeout_scale
    return [
        control_plane.read_control_plane(kube, api_objects.pod(pod), limit)
        for pod in ready_pods(kube, system, "istiod")
    ]


@contextmanager
def cut_off(live: LiveMesh, primary: Cluster, change: AbstractContextManager[None]) -> Iterator[None]:
    """Make a change; wait until proxies that reach a primary's istiod from elsewhere are cut off, then back again.

    Raises:
        StepError: they don't in time.
    """
    topology = live.mesh.topology
    remotes = topology.dependents(topology.control_plane_of(primary))
    before = {remote: connected(live, primary, remote) for remote in remotes}

    def lost(remote: Cluster) -> str:
        return f"still connected: {', '.join(sorted(left))}" if (left := connected(live, primary, remote)) else ""

    def back(remote: Cluster) -> str:
        away = before[remote] - connected(live, primary, remote)
        return f"not connected: {', '.join(sorted(away))}" if away else ""

    with change:
        await_each(live, remotes, "Wait until its proxies are disconnected from the control plane", lost, 2 * SECONDS)
        yield
    await_each(live, remotes, "Wait until its proxies are connected again", back, 2 * SECONDS)


def await_rollout(live: LiveMesh, cluster: Cluster, namespace: str, name: str) -> None:
    """Wait until a Deployment is available in its present form, and none of its former pods is left.

    Raises:
        StepError: it isn't in time.
    """
    kube = live.kube(cluster)
    timeout = AVAILABLE_SECONDS * live.mesh.settings.timeout_scale
    title = f"Wait for Deployment {name}"
    with live.mesh.log.step(Phase.FAULTS, title, cluster.name) as opened, environment_faults():
        found = await_deployment(kube, namespace, name, timeout, opened)
        for pod in _leaving(kube.list("v1", "Pod", namespace, label_selector=selector(found or {}))):
            kube.wait("v1", "Pod", pod, namespace, pending=still_there, timeout=timeout, step=opened)


def selector(deployment: Object) -> str:
    """A Deployment's selector as the API takes it. Pure."""
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _leaving(pods: Iterable[Object]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods if pod["metadata"].get("deletionTimestamp")]
