"""The pod network between the nodes of one kind cluster whose node image brings only that of its own node."""

from collections.abc import Sequence

from harness.base.parallel import in_parallel
from harness.clusters import routes
from harness.clusters.routes import PodRoute
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi, Object
from harness.model.step_log import OpenStep

_CONFIGURATION = "/etc/cni/net.d/10-ptp.conflist"


def connect(kube: KubeApi, access: ClusterAccess, timeout: float, step: OpenStep) -> None:
    """Give every node its range of pod addresses, and routes to the pods of the others.

    A node that comes after the first one does not know its range before the controller manager has chosen it, and is
    not ready until then.

    Args:
        kube: the cluster.
        access: with the names of its nodes, which are those of their containers.
        timeout: seconds until each has its range and address.
        step: told what is waited for.

    Raises:
        StepError: a node was given no range in time.
        UserError: a node could not be configured.
    """

    def registered(node: str) -> PodRoute:
        found = kube.wait("v1", "Node", node, pending=pending, timeout=timeout, step=step)
        return routes.route_of(kube.name, found or {})

    nodes = tuple(in_parallel(registered, access.nodes))
    routes.on_each_node(access.engine, nodes, lambda own: script(own, nodes), "The pod network")


def pending(node: Object | None) -> str:
    """What a node still lacks to be given its pod network; empty when nothing. Pure."""
    if node is None:
        return "it has not registered"
    addresses = (node.get("status") or {}).get("addresses") or ()
    lacking = [] if (node.get("spec") or {}).get("podCIDR") else ["range of pod addresses"]
    lacking += [] if any(entry["type"] == "InternalIP" for entry in addresses) else ["address"]
    return f"it has no {' and no '.join(lacking)}" if lacking else ""


def script(own: PodRoute, nodes: Sequence[PodRoute]) -> str:
    """The shell script for one node. Pure."""
    template, place = "/etc/eastwest/cni.conflist", _CONFIGURATION
    # containerd reads the file as soon as it is there: it must be whole by then.
    lines = [f'sed "s|@POD_CIDR@|{own.pods}|" {template} >{place}.new', f"mv {place}.new {place}"]
    return "\n".join(lines + [f"ip route replace {n.pods} via {n.via}" for n in nodes if n.node != own.node])
