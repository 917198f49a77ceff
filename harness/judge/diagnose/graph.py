"""What depends on what in a mesh: the graph along which a cause is found. Pure.

A node is one layer of one cluster. What is broken at a node may break every node that needs it, directly or over
others: gateways of the primary before a remote's webhook, the webhook before the remote's workloads, and so on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from harness.model.topology import Cluster, Role, Topology


class Layer(StrEnum):
    """The parts of a mesh, each before those that need it; causes are named in this order."""

    API_SERVERS = "API servers"
    NODES = "nodes and images"
    CERTIFICATES = "static certificates"
    CONTROL_PLANE = "control plane and webhook"
    GATEWAYS = "load balancer and gateway"
    REMOTE_SECRETS = "remote secrets"
    NETWORK = "network labels and routes"
    WORKLOADS = "workloads"
    PROXIES = "proxies' synchronisation"
    POLICIES = "policies and settings"
    ENDPOINTS = "endpoints"
    TRAFFIC = "traffic"
    RUN = "what a run leaves behind"


LAYERS = tuple(Layer)


@dataclass(frozen=True)
class LayerNode:
    """One layer of one cluster."""

    layer: Layer
    cluster: str
    """The cluster's name."""


def _on(layer: Layer, *clusters: Cluster) -> tuple[LayerNode, ...]:
    return tuple(LayerNode(layer, cluster.name) for cluster in clusters)


def _control_plane(topology: Topology, cluster: Cluster) -> tuple[LayerNode, ...]:
    """A remote's injection and configuration come from its primary, over the gateway and by the remote secret.

    Of a cluster outside of the mesh it is the control plane of its gateway. What serves a primary counts as the
    primary's, wherever it runs.
    """
    own = _on(Layer.NODES, cluster)
    if cluster.role is Role.EXTERNAL:
        return own
    host = topology.control_plane_of(cluster)
    over = _on(Layer.GATEWAYS, host) if host != cluster else ()
    if cluster.is_primary:
        return own + _on(Layer.CERTIFICATES, cluster) + over
    primary = topology[cluster.primary]
    return own + over + _on(Layer.CONTROL_PLANE, primary) + _on(Layer.REMOTE_SECRETS, primary)


def _endpoints(topology: Topology, cluster: Cluster) -> tuple[LayerNode, ...]:
    """A client's endpoints: known by its primary's remote secrets, reached over the other networks' gateways."""
    others, everywhere = topology.others(cluster), topology.clusters
    strangers = tuple(other for other in others if other.network != cluster.network)
    return (
        *_on(Layer.PROXIES, *everywhere),
        *_on(Layer.WORKLOADS, *everywhere),
        *_on(Layer.NETWORK, *everywhere),
        *_on(Layer.GATEWAYS, *strangers),
        *_on(Layer.REMOTE_SECRETS, *topology.primaries),
        *_on(Layer.POLICIES, *topology.primaries),
    )


Needs = Callable[[Topology, Cluster], tuple[LayerNode, ...]]

_NEEDS: dict[Layer, Needs] = {
    Layer.API_SERVERS: lambda _topology, _cluster: (),
    Layer.NODES: lambda _, cluster: _on(Layer.API_SERVERS, cluster),
    Layer.CERTIFICATES: lambda _, cluster: _on(Layer.API_SERVERS, cluster),
    Layer.CONTROL_PLANE: _control_plane,
    # What configures a remote's gateway stands on its primary.
    Layer.GATEWAYS: lambda topology, cluster: (
        *_on(Layer.CONTROL_PLANE, cluster),
        *_on(Layer.GATEWAYS, topology[cluster.primary]),
    ),
    Layer.REMOTE_SECRETS: lambda topology, cluster: (
        *_on(Layer.CONTROL_PLANE, topology[cluster.primary]),
        *_on(Layer.API_SERVERS, *topology.watched_by(cluster)),
    ),
    Layer.NETWORK: lambda _, cluster: _on(Layer.API_SERVERS, cluster),
    Layer.WORKLOADS: lambda _, cluster: _on(Layer.CONTROL_PLANE, cluster),
    Layer.PROXIES: lambda _, cluster: _on(Layer.CONTROL_PLANE, cluster) + _on(Layer.WORKLOADS, cluster),
    # The mesh's settings come with its control plane.
    Layer.POLICIES: lambda _, cluster: _on(Layer.API_SERVERS, cluster) + _on(Layer.CONTROL_PLANE, cluster),
    Layer.ENDPOINTS: _endpoints,
    Layer.TRAFFIC: lambda topology, _: _on(Layer.ENDPOINTS, *topology.clusters),
    Layer.RUN: lambda topology, _: _on(Layer.API_SERVERS, *topology.clusters),
}


@cache
def upstream(topology: Topology, node: LayerNode) -> frozenset[LayerNode]:
    """The node and everything it needs, directly or over others."""
    found: set[LayerNode] = set()
    waiting = [node]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += _NEEDS[each.layer](topology, topology[each.cluster])
    return frozenset(found)


JUDGED_AT: dict[Layer, tuple[str, ...]] = {
    Layer.NODES: ("CP-CNI-READY",),
    Layer.CERTIFICATES: (
        "CERT-SECRET",
        "CERT-ROOT-PROFILE",
        "CERT-ROOT-SHARED",
        "CERT-INTERMEDIATE-PROFILE",
        "CERT-INTERMEDIATE-DISTINCT",
        "CERT-KEY-MATCH",
        "CERT-CHAIN",
    ),
    Layer.CONTROL_PLANE: (
        "CP-READY",
        "CP-IDENTITY",
        "CP-EXTERNAL",
        "CP-REMOTE-NO-ISTIOD",
        "CP-REMOTE-PROFILE",
        "CP-CONTROL-PLANE-CLUSTERS",
        "CP-INJECTION-WEBHOOK",
    ),
    Layer.GATEWAYS: ("GW-AVAILABLE", "GW-ADDRESS", "GW-EXPOSE-SERVICES", "GW-EXPOSE-ISTIOD", "GW-ISTIOD-PLAIN"),
    Layer.REMOTE_SECRETS: ("RS-PRESENT", "RS-SYNCED", "RS-HORIZON", "RS-VERIFIED"),
    Layer.NETWORK: ("NET-LABEL", "NET-DISTINCT"),
    Layer.WORKLOADS: ("WL-PLACED", "WL-INJECTED", "AMB-ZTUNNEL", "AMB-CAPTURE"),
    # These read every proxy, gateways included.
    Layer.PROXIES: (
        "XDS-SYNCED",
        "CP-VERSION",
        "CP-SKEW",
        "CERT-IN-USE",
        "CERT-WORKLOAD",
        "CERT-HORIZON",
    ),
    Layer.POLICIES: ("CONFIG-CONSISTENT", "AMB-SCOPE"),
    # Whatever is probed from a workload's pod needs that pod.
    Layer.ENDPOINTS: (
        "CERT-ISTIOD",
        "EP-COMPLETE",
        "EP-WEIGHTS",
        "AMB-VIEW",
        "GW-REACHABLE",
        "GW-DATAPATH",
        "GW-HARDENED",
        "NET-ROUTES",
        "NET-PACKETS",
        "RS-USABLE",
        "RS-LEAST",
    ),
    Layer.TRAFFIC: (
        "TR-REACH",
        "TR-NO-ERRORS",
        "TR-NO-RETRIES",
        "TR-DISTRIBUTION",
        "TR-LATENCY",
        "TR-TCP",
        "TR-PAYLOAD",
        "TR-GRPC",
        "MTLS-PEER",
        "AMB-HBONE",
        "AMB-PLAINTEXT",
        "MTLS-STRICT",
        "AUTHZ-IDENTITY",
        # No experiment is made on a mesh whose loop does not pass.
        "IDEMPOTENT",
    ),
    Layer.RUN: ("CLEAN",),
}
"""The layer whose state a requirement needs before it can be judged."""


def judged_at(requirement: str) -> Layer | None:
    """The layer a requirement is judged at; None for one that is not known here."""
    return next((layer for layer, ids in JUDGED_AT.items() if requirement in ids), None)
