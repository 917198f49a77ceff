"""What the ztunnels of a mesh without sidecars say of themselves and of the connections that they carried."""

from harness.model.base import Model
from harness.model.certificate import Certificate


class WorkloadCertificate(Model):
    """The certificate that a ztunnel holds for the pods of one service account; never its key."""

    identity: str
    """SPIFFE URI."""
    state: str
    """Available, Initializing, or Unavailable with a reason."""
    chain: tuple[Certificate, ...] = ()
    """Leaf first."""
    roots: tuple[Certificate, ...] = ()


class ZtunnelWorkload(Model):
    """A workload in a ztunnel's view: a pod, or all pods of a service behind another network's gateway."""

    uid: str
    """With colons for slashes: `CLUSTER::Pod:NAMESPACE:NAME`, or `NETWORK:SplitHorizonWorkload:GATEWAY:SERVICE`."""
    name: str
    namespace: str
    cluster_id: str
    network: str
    protocol: str
    """HBONE, or TCP where it is not in the mesh."""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    """The address of the network's gateway through which it is reached; empty where it is reached directly."""
    gateway_port: int = 0
    healthy: bool = True
    capacity: int = 1
    """How many pods it stands for."""
    node: str = ""
    service_account: str = ""
    policies: tuple[str, ...] = ()
    """Those that select it, and that the ztunnel has: `NAMESPACE:NAME`. Of STRICT istiod makes such a policy."""


class ZtunnelEndpoint(Model):
    """An endpoint of a service in a ztunnel's view."""

    uid: str
    """Of its workload."""
    ports: dict[int, int]
    """The service's port → the workload's."""
    healthy: bool


class ZtunnelService(Model):
    """A service in a ztunnel's view."""

    name: str
    namespace: str
    hostname: str
    vips: tuple[str, ...]
    """NETWORK/ADDRESS each."""
    ports: tuple[int, ...]
    endpoints: tuple[ZtunnelEndpoint, ...]
    identities: tuple[str, ...] = ()
    """Those that its endpoints on other networks may have (`subjectAltNames`)."""


class Ztunnel(Model):
    """One ztunnel, as its config dump tells: itself, and of its view what concerns the sample."""

    pod: str
    namespace: str
    node: str
    version: str
    """Of Istio, as its image says; empty where that says none."""
    cluster_id: str
    network: str
    connected_to: str = ""
    """The control plane it is configured with."""
    certificates: tuple[WorkloadCertificate, ...] = ()
    workloads: tuple[ZtunnelWorkload, ...] = ()
    services: tuple[ZtunnelService, ...] = ()

    def workload(self, uid: str) -> ZtunnelWorkload | None:
        """The workload of that uid."""
        return next((each for each in self.workloads if each.uid == uid), None)


class ZtunnelConnections(Model):
    """Connections of one kind in a ztunnel's access log."""

    cluster: str
    """Name of the cluster of the ztunnel."""
    ztunnel: str
    """Its pod."""
    direction: str
    """inbound or outbound: which end of the connection it served."""
    source: str
    """The workload that connected; its address where the ztunnel does not know it."""
    source_namespace: str = ""
    source_identity: str = ""
    """Empty where it came without mutual TLS."""
    destination: str
    """The workload that was connected to; its address where the ztunnel does not know it."""
    destination_namespace: str = ""
    destination_identity: str = ""
    service: str = ""
    """The host name of the service that was asked for."""
    address: str = ""
    """Where the connection went: ADDRESS:PORT, of a gateway for another network."""
    hbone: bool = False
    """It went through HBONE."""
    error: str = ""
    count: int
