"""What control planes and proxies say of themselves."""

from harness.model.base import Model
from harness.model.certificate import Certificate


class RemoteClusterSync(Model):
    """A row of istiod's /debug/clusterz."""

    id: str
    """Cluster name."""
    secret_name: str
    """namespace/name of the remote secret; empty for its own cluster."""
    sync_status: str
    """synced, syncing, timeout …"""


class ProxySync(Model):
    """A row of istiod's /debug/syncz: one connected proxy."""

    proxy: str
    """pod.namespace"""
    cluster_id: str
    version: str
    types: dict[str, str]
    """For each of CDS, LDS, EDS, RDS: SYNCED, STALE, NOT SENT, REJECTED, as istioctl proxy-status would say; for a
    ztunnel WDS, too: workloads and services."""


class NetworkGateway(Model):
    """A gateway to another network that istiod knows (/debug/networkz)."""

    network: str
    cluster: str
    address: str
    port: int
    """For mutual TLS between sidecars; 0 where it has none."""
    hbone_port: int = 0
    """For HBONE, as ztunnel speaks it; 0 where it has none."""


class ControlPlane(Model):
    """One istiod pod."""

    pod: str
    revision: str
    version: str
    """As it reports itself."""
    clusters: tuple[RemoteClusterSync, ...] = ()
    proxies: tuple[ProxySync, ...] = ()
    network_gateways: tuple[NetworkGateway, ...] = ()
    debug_off: bool = False
    """It has no debug interface (ENABLE_DEBUG_ON_HTTP=false): what it knows of clusters and proxies it does not say."""
    serving_chain: tuple[Certificate, ...] = ()
    """What it presents on 15012, leaf first."""
    log_lines: tuple[str, ...] = ()
    """A few lines of its log at level warn or above, the newest last, repeated ones once."""


class ProxyEndpoint(Model):
    """An endpoint of a cluster in Envoy's sense, from `clusters?format=json`."""

    address: str
    port: int
    weight: int
    healthy: bool
    """Neither failed health checks nor ejected."""
    flags: tuple[str, ...] = ()
    """The health flags that say otherwise."""
    locality: str = ""
    """region/zone/sub-zone."""
    priority: int | None = None
    """0 is tried first; None where it was not observed."""


class EndpointSet(Model):
    """The endpoints of one outbound cluster."""

    cluster: str
    """Envoy's name, for instance outbound|5000||helloworld.sample.svc.cluster.local."""
    endpoints: tuple[ProxyEndpoint, ...]


class FilterChain(Model):
    """A filter chain of a gateway's listener."""

    server_names: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    """Where a TCP proxy in it leads to; `sni` where the SNI decides (AUTO_PASSTHROUGH)."""
    tls: bool = False
    """It terminates TLS."""
    requires_client_certificate: bool = False


class Listener(Model):
    """A listener of a gateway's Envoy."""

    name: str
    port: int
    chains: tuple[FilterChain, ...]


class Proxy(Model):
    """One Envoy: a sidecar or a gateway."""

    pod: str
    namespace: str
    role: str
    """`app` label of its pod: sleep, helloworld, istio-eastwestgateway."""
    cluster_id: str
    network: str
    version: str
    """ISTIO_VERSION as the proxy reports it."""
    envoy_version: str = ""
    chain: tuple[Certificate, ...] = ()
    """Its own certificate chain, leaf first."""
    roots: tuple[Certificate, ...] = ()
    """The root certificates it trusts for peers."""
    connected_to: str = ""
    """The control plane it says it is connected to (discovery address)."""
    endpoints: tuple[EndpointSet, ...] = ()
    """Of the sample's Services only."""
    listeners: tuple[Listener, ...] = ()
    """Of gateways only."""
    rejected: tuple[str, ...] = ()
    """Configuration it refused: the error of each, shortened."""

    @property
    def title(self) -> str:
        """How findings name it."""
        return f"proxy {self.namespace}/{self.pod}"

    @property
    def versioned(self) -> str:
        """How findings name the program whose version it is."""
        return self.title

    @property
    def connection(self) -> str:
        """Under which name its control plane lists it: pod.namespace."""
        return f"{self.pod}.{self.namespace}"
