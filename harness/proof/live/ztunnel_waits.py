"""Waits for what ztunnels know: they are asked again and again, for they can't be watched."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.experiments.testbed import ready_pods
from harness.model import expectations
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel
from harness.observe import api_objects
from harness.observe.ztunnels import read_ztunnel
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import ASK_SECONDS, await_each

Known = frozenset[tuple[str, str, str, int]]
"""By ztunnel: network, gateway and capacity of each workload behind helloworld."""


def known(live: LiveMesh, cluster: Cluster) -> Known:
    """What the ztunnels of a cluster know of helloworld.

    Raises:
        TransportError: one can't be asked.
    """
    kube, settings = live.kube(cluster), live.mesh.settings
    limit = ASK_SECONDS * settings.timeout_scale
    pods = ready_pods(kube, settings.ztunnel_namespace, expectations.ZTUNNEL)
    asked = (read_ztunnel(kube, api_objects.pod(pod), (settings.sample_namespace,), limit) for pod in pods)
    return frozenset(row for ztunnel in asked if ztunnel for row in _rows(ztunnel))


def _rows(ztunnel: Ztunnel) -> Iterator[tuple[str, str, str, int]]:
    for service in ztunnel.services:
        for endpoint in service.endpoints if service.name == expectations.HELLOWORLD else ():
            if workload := ztunnel.workload(endpoint.uid):
                yield ztunnel.pod, workload.network, workload.gateway, workload.capacity


@contextmanager
def felt_by_ztunnels(
    live: LiveMesh, clients: Iterable[Cluster], change: AbstractContextManager[None], *, same: bool = True
) -> Iterator[None]:
    """Make a change; wait until these clusters' ztunnels know helloworld otherwise, and then as before.

    Args:
        live: the mesh.
        clients: the clusters.
        change: the change.
        same: after it they know the same; else as many workloads as before, for addresses may be others.

    Raises:
        StepError: they don't in time.
    """
    before = {client: known(live, client) for client in clients}

    def other(client: Cluster) -> str:
        return "they know the same" if known(live, client) == before[client] else ""

    def former(client: Cluster) -> str:
        found = known(live, client)
        back = found == before[client] if same else len(found) == len(before[client])
        return "" if back else f"they know {sorted(found)}"

    with change:
        await_each(live, before, "Wait until ztunnels know helloworld otherwise", other)
        yield
    await_each(live, before, "Wait until ztunnels know helloworld as before", former)
