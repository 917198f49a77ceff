"""Packets dropped and routes taken away on the nodes of clusters that the suite has made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.clusters import containers, routes
from harness.kube.access import ClusterAccess
from harness.mesh.context import environment_faults
from harness.model import expectations
from harness.model.topology import Cluster
from harness.observe import api_objects
from harness.observe.probe_plan import STATUS_PORT
from harness.proof.live.live_mesh import LiveMesh

FULL_BYTES = 1300
"""A packet from here on is taken for full: interfaces of 1,500 bytes send 1,448 of a long message in each."""


@contextmanager
def no_route(live: LiveMesh) -> Iterator[None]:
    """Take the routes between the pods of West and of the clusters on its network away."""
    topology, west = live.mesh.topology, live.west
    group = [made_here(live, cluster) for cluster in topology.clusters if cluster.network == west.network]
    routes.remove(group, live.mesh.log)
    try:
        yield
    finally:
        routes.add(group, live.mesh.log)


@contextmanager
def packets_lost(live: LiveMesh) -> Iterator[None]:
    """Drop packets of full size to the readiness ports of West's proxies."""
    settings, kube = live.mesh.settings, live.kube(live.west)
    namespaces = (settings.system_namespace, settings.sample_namespace)
    pods = [found for name in namespaces for found in map(api_objects.pod, kube.list("v1", "Pod", name))]
    addresses = [pod.ip for pod in pods if pod.ip and expectations.has_proxy(pod)]
    full = ("--match", "length", "--length", f"{FULL_BYTES}:65535")
    with dropped(live, live.west, "FORWARD", *to_pods(addresses, STATUS_PORT), *full):
        yield


@contextmanager
def dropped(live: LiveMesh, cluster: Cluster, chain: str, *packets: str) -> Iterator[None]:
    """Drop packets on every node of a cluster, those of connections that stand too; who sends them gets no answer.

    Args:
        live: the mesh.
        cluster: whose nodes.
        chain: of iptables' table mangle: INPUT for what ends at the node, FORWARD for what it passes on to pods.
        packets: which ones, as iptables is told.

    Raises:
        StepError: the suite has not made this cluster, or the rule could not be set.
    """
    access = made_here(live, cluster)

    def change(action: str) -> None:
        rule = ("iptables", "--wait", "--table", "mangle", action, chain, *packets, "--jump", "DROP")
        with environment_faults():
            in_parallel(lambda node: containers.execute(access.engine, node, *rule), access.nodes)

    change("--insert")
    try:
        yield
    finally:
        change("--delete")


def made_here(live: LiveMesh, cluster: Cluster) -> ClusterAccess:
    """The way to a cluster that the suite has made.

    Raises:
        StepError: somebody else has made it.
    """
    access = live.kube(cluster).access
    if not access.nodes:
        raise StepError(f"{cluster.name} was not made by the suite, which changes nothing on the nodes of others")
    return access


def to_pods(addresses: Sequence[str], port: int) -> tuple[str, ...]:
    """Packets for a port of these pods, as iptables is told. Pure."""
    return ("--destination", ",".join(addresses), "--protocol", "tcp", "--destination-port", str(port))
