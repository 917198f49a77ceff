"""East-west gateways as a mesh has them, whatever they are called and wherever they stand. Pure.

istiod takes a Service for the gateway of a network by its label topology.istio.io/network, at its external addresses
and the port that its label networking.istio.io/gatewayPort names, 15443 without (Istio, pilot's controller of
networks). What istiod itself reports (/debug/networkz) is added: gateways of meshNetworks and of Gateway resources that
stand elsewhere. The chapter's name is the last resort: a gateway that lost its label is still found.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from harness.model.cluster import ClusterObservation, Pod, Service, Workload
from harness.model.kubernetes import PROXY
from harness.model.proxy import FilterChain, NetworkGateway, Proxy
from harness.model.topology import Cluster, Topology

GATEWAY = "istio-eastwestgateway"
"""The chapter's name of it."""
OUTSIDE_NAMESPACE = "external-istiod-gateway"
"""Where the suite puts that of a cluster outside of the mesh which runs a control plane."""
NETWORK_LABEL = "topology.istio.io/network"
PORT_LABEL = "networking.istio.io/gatewayPort"
MESH_PORT = 15443
"""Where a gateway passes mTLS traffic of other networks through."""
HBONE_PORT = 15008
"""Where a gateway takes in what ztunnels of other networks send through HBONE."""
XDS_PORT = 15012
"""Where istiod serves configuration and certificates."""
WEBHOOK_PORT = 15017
"""Where istiod serves injection."""


class Seen(Protocol):
    """What was observed of each cluster, by its name: an observation, or a mapping while it is made."""

    def __getitem__(self, name: str, /) -> ClusterObservation:
        """What was observed of that cluster."""
        ...


@dataclass(frozen=True, order=True)
class Entrance:
    """An address and port at which others reach a gateway."""

    address: str
    port: int
    """The Service's, or a node's: what clients connect to."""
    listener: int
    """Envoy's: the Service's targetPort."""


def network(service: Service) -> str:
    """The network whose gateway a Service says it is; empty where it says none."""
    return service.labels.get(NETWORK_LABEL, "")


def announced_port(service: Service) -> int:
    """The port of a gateway's Service that istiod gives to clients."""
    text = service.labels.get(PORT_LABEL, "")
    return int(text) if text.isdecimal() else MESH_PORT


def has_port(service: Service, port: int) -> bool:
    """Whether a Service listens on a port."""
    return any(found.port == port for found in service.ports)


def listener_port(service: Service, port: int) -> int:
    """Envoy's port behind a Service's; the same where the Service names it, or has no such port."""
    target = next((found.target_port for found in service.ports if found.port == port), "")
    at_mesh = port == announced_port(service) and port != HBONE_PORT
    return int(target) if target.isdecimal() else (MESH_PORT if at_mesh else port)


def addresses(service: Service) -> tuple[str, ...]:
    """The addresses at which a Service is known outside of its cluster, host names resolved where they could be."""
    balanced = (service.resolved or service.ingress) if service.type in {"LoadBalancer", ""} else ()
    return tuple(dict.fromkeys((*balanced, *service.external_ips, *service.node_addresses)))


def _entrances(service: Service, port: int) -> tuple[Entrance, ...]:
    nodes = {found.port: found.node_port for found in service.ports} if service.node_addresses else {}
    listener = listener_port(service, port)
    return tuple(Entrance(address, nodes.get(port) or port, listener) for address in addresses(service))


def labelled(observed: ClusterObservation) -> tuple[Service, ...]:
    """The Services that say that they are a network's gateway."""
    return tuple(service for service in observed.services if network(service))


def services(observed: ClusterObservation, of: str = "") -> tuple[Service, ...]:
    """The Services of a cluster's east-west gateways: those that istiod uses, else what was meant as one.

    Args:
        observed: the cluster.
        of: a network; its gateways come before those of others.
    """
    said = labelled(observed)
    own = tuple(service for service in said if network(service) == of) or said
    used = tuple(service for service in own if has_port(service, announced_port(service)) and addresses(service))
    return used or own or _last_resort(observed)


def _last_resort(observed: ClusterObservation) -> tuple[Service, ...]:
    """A gateway without the label: by the chapter's name or label, else by what its Envoy passes through."""
    named = [service for service in observed.services if service.name == GATEWAY]
    told = [service for service in observed.services if service.labels.get("istio") == "eastwestgateway"]
    through = (service for service in observed.services if addresses(service) and lets_through(observed, service))
    return tuple(found for found in (next(iter((*named, *told)), None) or next(through, None),) if found)


def lets_through(observed: ClusterObservation, service: Service) -> bool:
    """Whether an Envoy behind a Service passes other networks' connections through."""
    return any(passes_through(chain) for proxy in proxies(observed, service) for chain in _chains(proxy))


def _chains(proxy: Proxy) -> Iterable[FilterChain]:
    return (chain for listener in proxy.listeners for chain in listener.chains)


def passes_through(chain: FilterChain) -> bool:
    """Whether it forwards by SNI without ending TLS: one chain for all (`sni`), or one for each service."""
    by_name = any(name.startswith("outbound_.") and name in chain.clusters for name in chain.server_names)
    return not chain.tls and (by_name or "sni" in chain.clusters)


def istiod_service(observed: ClusterObservation, of: str = "") -> Service | None:
    """The Service at which others reach a cluster's istiod.

    The east-west gateway's where it has port 15012, else any other one with that port and an external address.
    """
    found = services(observed, of)
    others = [service for service in observed.services if addresses(service)]
    candidates = [service for service in (*found, *others) if has_port(service, XDS_PORT)]
    return next(iter((*candidates, *found)), None)


def selected(observed: ClusterObservation, service: Service) -> tuple[Pod, ...]:
    """The pods that a Service selects, of whatever kind."""
    return observed.pods_with(service.namespace, **service.selector) if service.selector else ()


def pods(observed: ClusterObservation, service: Service) -> tuple[Pod, ...]:
    """What serves behind a Service: the pods with a proxy; where it is no network's gateway, istiod itself, too."""
    serving = {PROXY} if network(service) else {PROXY, "discovery"}
    return tuple(pod for pod in selected(observed, service) if any(pod.container(name) for name in serving))


def workload(observed: ClusterObservation, service: Service | None) -> Workload | None:
    """The Deployment or DaemonSet behind a gateway's Service; the chapter's where the Service leads to no proxy."""
    behind = (pod for pod in pods(observed, service)) if service else iter(())
    names = {pod.name for pod in behind}
    astray = service is not None and not names and bool(selected(observed, service))
    near = [found for found in observed.workloads if service is None or found.namespace == service.namespace]
    if service and service.selector and not astray:
        wanted = service.selector.items()
        for found in near:
            of_pods = any(name.startswith(f"{found.name}-") for name in names) and not found.pod_labels
            if of_pods or wanted <= (found.pod_labels or found.labels).items():
                return found
    chapters = [found for found in near if found.name == GATEWAY]
    chapters += [found for found in near if found.labels.get("istio") == "eastwestgateway"]
    return next(iter(chapters), None)


def is_available(observed: ClusterObservation, service: Service | None) -> bool:
    """Whether something serves behind a gateway's Service; taken for granted where that is outside of the cluster."""
    if found := workload(observed, service):
        return found.available
    return service is not None and (not service.selector or any(pod.ready for pod in pods(observed, service)))


def proxies(observed: ClusterObservation, service: Service | None) -> tuple[Proxy, ...]:
    """The Envoys of a gateway."""
    names = {(pod.namespace, pod.name) for pod in (selected(observed, service) if service else ())}
    return tuple(proxy for proxy in observed.proxies if (proxy.namespace, proxy.pod) in names)


def reported(topology: Topology, seen: Seen, cluster: Cluster, port: int = MESH_PORT) -> tuple[NetworkGateway, ...]:
    """The gateways of a cluster that any istiod of the mesh reports: 15443 for sidecars' traffic, 15008 for HBONE."""
    rows = (
        row
        for primary in topology.primaries
        for plane in seen[primary.name].control_planes
        for row in plane.network_gateways
        if at(row, port)
        and (row.cluster == cluster.cluster_name or (not row.cluster and row.network == cluster.network))
    )
    return tuple(dict.fromkeys(rows))


def at(row: NetworkGateway, port: int) -> int:
    """Where a gateway that istiod reports takes in sidecars' traffic (15443) or HBONE (15008); 0 where it does not."""
    return row.hbone_port if port == HBONE_PORT else row.port


def awaits_address(topology: Topology, seen: Seen, cluster: Cluster, service: Service | None) -> bool:
    """Whether a gateway's Service has no address: what istiod still reports of it is then out of date.

    istiod passes over a Service that has lost its addresses, and keeps the gateway (pilot, addOrUpdateService). A
    network whose gateways meshNetworks names needs no address of a Service.
    """
    if service is None or addresses(service):
        return False
    configs = (config for primary in topology.primaries for config in seen[primary.name].mesh_config)
    named = any((config.networks.get(cluster.network) or {}).get("gateways") for config in configs)
    return not named and (service.type in {"LoadBalancer", ""} or bool(network(service)))


def named_by_networks(topology: Topology, seen: Seen, cluster: Cluster) -> bool:
    """Whether meshNetworks name a gateway of a cluster's network on every primary whose clients need one."""
    asking = {other.primary for other in topology.others(cluster) if other.network != cluster.network}
    return bool(asking) and all(
        any((config.networks.get(cluster.network) or {}).get("gateways") for config in seen[primary].mesh_config)
        for primary in asking
    )


def entrances(topology: Topology, seen: Seen, cluster: Cluster, port: int = MESH_PORT) -> tuple[Entrance, ...]:
    """Where others reach a port of a cluster's gateways.

    Without a gateway of its own that is where the network's other gateways are: one may stand for several clusters
    (Istio, pilot: gateways are chosen by network and cluster, else by network).

    Args:
        topology: the clusters.
        seen: what was observed of each.
        cluster: the cluster.
        port: 15443 for services, 15008 where ztunnels carry them, 15012 or 15017 for istiod.
    """
    observed = seen[cluster.name]
    if port not in {MESH_PORT, HBONE_PORT}:
        service = istiod_service(observed, cluster.network)
        return _entrances(service, port) if service else ()
    if own := _own(topology, seen, cluster, port):
        return own
    shared = (
        _own(topology, seen, other, port) for other in topology.others(cluster) if other.network == cluster.network
    )
    return tuple(dict.fromkeys(found for each in shared for found in each))


def _own(topology: Topology, seen: Seen, cluster: Cluster, port: int) -> tuple[Entrance, ...]:
    found, rows = services(seen[cluster.name], cluster.network), reported(topology, seen, cluster, port)
    # A Service without the label is a gateway by meshNetworks, which name its port: then what istiod reports counts.
    told = [service for service in found if network(service) or not rows]
    if port == HBONE_PORT:
        own = [each for service in told if has_port(service, port) for each in _entrances(service, port)]
    else:
        own = [each for service in told for each in _entrances(service, announced_port(service))]
    if any(awaits_address(topology, seen, cluster, service) for service in found):
        return tuple(own)
    there = {(entrance.address, entrance.port) for entrance in own}
    places = [(row.address, at(row, port)) for row in rows]
    more = [Entrance(*place, port) for place in places if place not in there]
    if more and all(map(known_by_name, found)):
        # A name may resolve otherwise here than where istiod asks: what istiod reports is what clients are given.
        reported_too = [entrance for entrance in own if any(row.address == entrance.address for row in rows)]
        return tuple(dict.fromkeys((*reported_too, *more)))
    return tuple(dict.fromkeys((*own, *more)))


def known_by_name(service: Service) -> bool:
    """Whether its load balancer has host names only."""
    return bool(service.ingress) and not any(map(is_address, service.ingress))


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a host name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def serving(topology: Topology, seen: Seen, cluster: Cluster) -> tuple[Service, ...]:
    """The Services through which others need a cluster: its gateways, and where it serves remotes istiod's."""
    observed = seen[cluster.name]
    crossed = any(other.network != cluster.network for other in topology.others(cluster))
    own = services(observed, cluster.network) if crossed else ()
    istiod = istiod_service(observed, cluster.network) if topology.serves_remotes(cluster) else None
    return tuple({(found.namespace, found.name): found for found in (*own, istiod) if found}.values())


def is_shared(topology: Topology, seen: Seen, cluster: Cluster) -> bool:
    """Whether a cluster has no gateway of its own, and its network is entered elsewhere."""
    return not services(seen[cluster.name], cluster.network) and bool(entrances(topology, seen, cluster))


def unknown_clusters(topology: Topology, seen: Seen) -> tuple[str, ...]:
    """The clusters of the mesh that istiod reports and that are none of the topology: only a part was named."""
    known = {cluster.cluster_name for cluster in topology.clusters}
    planes = (plane for primary in topology.primaries for plane in seen[primary.name].control_planes)
    return tuple(sorted({row.id for plane in planes for row in plane.clusters if row.id} - known))
