"""Which probes a topology asks for, and from which pod of each cluster they are sent. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from harness.model import clients, expectations, gateways, requested
from harness.model.cluster import ClusterObservation, Pod
from harness.model.observation import Asked
from harness.model.topology import Cluster, Topology
from harness.model.traffic import ProbeKind
from harness.observe.secrets import Credential

STATUS_PORT = 15021
"""Where a proxy says whether it is ready."""


@dataclass(frozen=True)
class PlannedProbe:
    """One probe to be sent."""

    kind: ProbeKind
    source: str
    target: str
    address: str
    port: int
    server_name: str = ""
    alpn: str = ""
    credential: Credential | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ProbeSource:
    """The container from which a cluster's probes are sent."""

    namespace: str
    pod: str
    container: str


def plan(
    topology: Topology,
    asked: Asked,
    observed: Mapping[str, ClusterObservation],
    credentials: Mapping[str, tuple[Credential, ...]],
) -> tuple[PlannedProbe, ...]:
    """Every probe that one of the requirements looks at.

    Args:
        topology: the clusters.
        asked: names of namespaces.
        observed: what was read of each cluster, by its name.
        credentials: those of each cluster's remote secrets, by its name.
    """
    found: list[PlannedProbe] = []
    for target in topology.every:
        found += _gateway_probes(topology, asked, target, observed)
    for target in topology.clusters:
        found += _route_probes(topology, asked, target, observed[target.name])
    for source in topology.primaries:
        for credential in credentials.get(source.name, ()):
            if credential.labelled and credential.secret.startswith(f"{asked.system_namespace}/"):
                found.append(_api_server_probe(topology, source, credential))
    return tuple(found)


def _gateway_probes(
    topology: Topology, asked: Asked, target: Cluster, observed: Mapping[str, ClusterObservation]
) -> Iterator[PlannedProbe]:
    ports = expectations.needed_ports(topology, target, expectations.mesh_port(asked))
    istiod = f"istiod.{asked.system_namespace}.svc"
    handshakes = {
        expectations.MESH_PORT: ((ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE), "", "istio"),
        expectations.HBONE_PORT: ((ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE), "", "h2"),
        expectations.XDS_PORT: ((ProbeKind.TLS, ProbeKind.CSR_NO_TOKEN), istiod, "h2"),
        expectations.WEBHOOK_PORT: ((ProbeKind.TLS,), istiod, ""),
    }
    entrances = {port: gateways.entrances(topology, observed, target, port) for port in ports}
    for source, address in dict.fromkeys(
        (source, entrance.address)
        for port, sources in ports.items()
        for source in sources
        for entrance in entrances[port]
    ):
        yield PlannedProbe(ProbeKind.TCP, source.name, target.name, address, STATUS_PORT)
        yield PlannedProbe(ProbeKind.PACKETS, source.name, target.name, address, STATUS_PORT)
    for port, sources in ports.items():
        kinds, server_name, alpn = handshakes[port]
        for entrance in entrances[port]:
            where = target.name, entrance.address, entrance.port
            for source in sources:
                yield PlannedProbe(ProbeKind.TCP, source.name, *where)
                domain = expectations.cluster_domain(observed[source.name])
                asks_for = server_name or requested.server_name(asked, domain)
                for kind in kinds:
                    yield PlannedProbe(kind, source.name, *where, asks_for, alpn)


def _route_probes(
    topology: Topology, asked: Asked, target: Cluster, observed: ClusterObservation
) -> Iterator[PlannedProbe]:
    pods = expectations.helloworld_pods(observed, asked.sample_namespace)
    for source in topology.others(target):
        if source.network == target.network:
            for pod in pods:
                yield PlannedProbe(ProbeKind.POD_ROUTE, source.name, target.name, pod.ip, expectations.HELLOWORLD_PORT)
                if expectations.has_proxy(pod):
                    yield PlannedProbe(ProbeKind.PACKETS, source.name, target.name, pod.ip, STATUS_PORT)


def _api_server_probe(topology: Topology, source: Cluster, credential: Credential) -> PlannedProbe:
    names = {cluster.cluster_name: cluster.name for cluster in topology.clusters}
    try:
        server = urlsplit(credential.server)
        host, port = server.hostname or "", server.port or (80 if server.scheme == "http" else 443)
    except ValueError:
        host, port = "", 0
    target = names.get(credential.cluster, credential.cluster)
    watching = topology.control_plane_of(source).name
    return PlannedProbe(ProbeKind.API_SERVER, watching, target, host, port, credential=credential)


def source_of(observed: ClusterObservation, asked: Asked) -> ProbeSource | None:
    """Where a cluster's probes are best sent from.

    The proxy's container of the client: it has the tools, and what its user sends is not redirected to Envoy. Else
    that of any other pod of the mesh; else the client itself without a sidecar, whose traffic isn't redirected either;
    else istiod. Never the application's container beside a proxy, nor in a pod that a ztunnel captures: these would
    answer in place of what is probed.
    """
    mine = {pod.name for pod in clients.client_pods(observed, asked)}

    def of_client(pod: Pod) -> bool:
        return pod.namespace == asked.sample_namespace and pod.name in mine

    def plain(pod: Pod) -> bool:
        return of_client(pod) and not expectations.in_mesh(pod) and any(c.state == "running" for c in pod.containers)

    usable = [
        pod
        for pod in observed.pods
        if not pod.deleting and (_runs_in(pod, expectations.PROXY) or plain(pod) or _runs_in(pod, "discovery"))
    ]
    if not usable:
        return None
    pod = min(usable, key=lambda p: (not _runs_in(p, expectations.PROXY), not of_client(p), not p.ready, p.name))
    names = [container.name for container in pod.containers if container.state == "running"]
    best = (expectations.PROXY, clients.client_container(pod), "discovery")
    return ProbeSource(pod.namespace, pod.name, next((name for name in best if name in names), names[0]))


def _runs_in(pod: Pod, container: str) -> bool:
    found = pod.proxy if container == expectations.PROXY else pod.container(container)
    return found is not None and found.state == "running"
