"""Direct routes between the pods of kind clusters, which make them one network (chapter: "single network").

Every node is told by which other node each other cluster's pods are reached, and to leave pods' addresses as they
are on the way: otherwise the other side would see the node's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.base.command import CommandError
from harness.base.container_engine import ContainerEngine
from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.clusters import containers
from harness.kube.access import ClusterAccess
from harness.kube.api import Object
from harness.kube.client import Kube
from harness.model.step import Phase
from harness.model.step_log import StepLog


@dataclass(frozen=True)
class PodRoute:
    """Where a node's pods are."""

    cluster: str
    node: str
    """Name of the node container."""
    pods: str
    """The node's range of pod addresses (spec.podCIDR)."""
    via: str
    """The node's address."""


def add(clusters: Sequence[ClusterAccess], log: StepLog) -> None:
    """Let pods of these clusters reach each other directly. Changes nothing where they do already.

    Args:
        clusters: kind clusters that are to share a network.
        log: where the step is recorded, phase clusters.

    Raises:
        UserError: a route could not be set.
    """
    with log.step(Phase.CLUSTERS, "Route pods between the clusters") as step:
        routes = _pod_routes(clusters)
        _change(clusters[0].engine, routes, _ADD)
        step.note(", ".join(f"{route.cluster}: {route.pods} via {route.via}" for route in routes))


def remove(clusters: Sequence[ClusterAccess], log: StepLog) -> None:
    """Take the routes away again; those that are not there are no error."""
    with log.step(Phase.CLEANUP, "Remove the routes between the clusters"):
        _change(clusters[0].engine, _pod_routes(clusters), _REMOVE)


_RULE = "iptables --wait --table nat {action} POSTROUTING --source {own} --destination {pods} --jump ACCEPT"
_ADD = (
    "ip route replace {pods} via {via}",
    f"{_RULE.replace('{action}', '--check')} 2>/dev/null || {_RULE.replace('{action}', '--insert')}",
)
_REMOVE = (
    "ip route del {pods} via {via} 2>/dev/null || true",
    f"{_RULE.replace('{action}', '--delete')} 2>/dev/null || true",
)


def script(own: PodRoute, routes: Sequence[PodRoute], lines: Sequence[str]) -> str:
    """The shell script for one node: the lines for each node of another cluster. Pure."""
    return "\n".join(_lines(own, routes, lines))


def _lines(own: PodRoute, routes: Sequence[PodRoute], lines: Sequence[str]) -> Iterator[str]:
    for other in routes:
        if other.cluster != own.cluster:
            yield from (line.format(own=own.pods, pods=other.pods, via=other.via) for line in lines)


def on_each_node(
    engine: ContainerEngine, nodes: Sequence[PodRoute], script_for: Callable[[PodRoute], str], what: str
) -> None:
    """Run a shell script on each node.

    Args:
        engine: in which they run.
        nodes: where.
        script_for: makes the script of one node.
        what: could not be changed where it fails, for the error.

    Raises:
        UserError: a script failed, or its node does not run.
    """

    def change(own: PodRoute) -> None:
        try:
            containers.execute(engine, own.node, "sh", "-e", "-c", script_for(own))
        except CommandError as failed:
            raise UserError(
                f"{what} could not be changed on {own.node}.",
                (failed.output.strip().splitlines() or [str(failed)])[-1],
                f"see that the container runs: {engine.name} ps",
            ) from None

    in_parallel(change, nodes)


def _change(engine: ContainerEngine, routes: Sequence[PodRoute], lines: Sequence[str]) -> None:
    on_each_node(engine, routes, lambda own: script(own, routes, lines), "The routes to other clusters")


def _pod_routes(clusters: Sequence[ClusterAccess]) -> tuple[PodRoute, ...]:
    nodes = in_parallel(lambda cluster: Kube(cluster).list("v1", "Node"), clusters)
    return tuple(
        route_of(cluster.name, node) for cluster, listed in zip(clusters, nodes, strict=True) for node in listed
    )


def route_of(cluster: str, node: Object) -> PodRoute:
    """A node's route, from the Node object: pure.

    Raises:
        UserError: it has no address.
    """
    name, addresses = node["metadata"]["name"], (node.get("status") or {}).get("addresses") or []
    internal = [entry["address"] for entry in addresses if entry["type"] == "InternalIP"]
    if not internal:
        raise UserError(
            f"The node {name} of {cluster} has no address.",
            "its status names no InternalIP, to which the other clusters' nodes could be given a route",
            f"see why its kubelet reports none, in the log of the container {name}",
        )
    return PodRoute(cluster, name, node["spec"]["podCIDR"], internal[0])
