"""Plain records of Kubernetes' own objects, reduced to what matters for a mesh."""

from datetime import datetime

from harness.model.base import Model
from harness.model.origin import Origin

PROXY = "istio-proxy"
"""The container of a proxy."""


class Condition(Model):
    """A status condition of an object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition: datetime | None = None


class Node(Model):
    """A node."""

    name: str
    ready: bool
    schedulable: bool
    """Neither cordoned nor tainted NoSchedule."""
    addresses: tuple[str, ...]
    """InternalIP first."""
    pod_cidrs: tuple[str, ...]
    os_image: str
    architecture: str
    kubelet_version: str
    container_runtime: str


class Namespace(Model):
    """A namespace; only those of the mesh and the sample."""

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    phase: str
    origin: Origin | None = None
    """What declares it; None where that was not observed."""


class Container(Model):
    """A container of a pod, with its status."""

    name: str
    image: str
    image_id: str = ""
    """As resolved by the node, with digest."""
    pull_policy: str = ""
    """Always, IfNotPresent or Never."""
    init: bool = False
    sidecar: bool = False
    """An init container with restartPolicy Always: a native sidecar."""
    ready: bool = False
    restarts: int = 0
    state: str = ""
    """running, waiting or terminated."""
    reason: str = ""
    message: str = ""
    last_end: str = ""
    """How it ended before it was started again: reason, exit code, message."""
    env: dict[str, str] = {}
    """Literal values of variables whose names begin with ISTIO_META_, PILOT_, CLUSTER_ID, REVISION, EXTERNAL_ISTIOD,
    CA_ADDR, ENABLE_CA_SERVER, EXTERNAL_CA, ISTIO_MULTIROOT_MESH, TRUST_DOMAIN, ROOT_CA_DIR; of istio-proxy and
    discovery only."""


class Pod(Model):
    """A pod of the mesh's or the sample's namespaces."""

    namespace: str
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    """Those of istio.io, sidecar.istio.io and kubectl's restartedAt only."""
    service_account: str
    node: str
    ip: str
    phase: str
    ready: bool
    created: datetime
    deleting: bool = False
    containers: tuple[Container, ...]
    identity_socket: str = ""
    """What provides the volume `workload-socket` (CSI driver or host path) if it is not Istio's own emptyDir: then an
    agent outside of the pod, for instance SPIRE's, gives the proxy its certificate."""

    @property
    def ended(self) -> bool:
        """Whether none of its containers will run again: evicted ones stay listed."""
        return self.phase in {"Succeeded", "Failed"}

    def container(self, name: str) -> Container | None:
        """The container, or init container, of that name."""
        return next((container for container in self.containers if container.name == name), None)

    @property
    def proxy(self) -> Container | None:
        """The container of its Envoy: a sidecar, a gateway, a waypoint. ztunnel's is called the same, and is none."""
        return None if self.labels.get("app") == "ztunnel" else self.container(PROXY)

    @property
    def is_gateway(self) -> bool:
        """Whether its Envoy stands alone: a gateway or a waypoint, no sidecar."""
        beside = [each for each in self.containers if not each.init and each.name != PROXY]
        return self.proxy is not None and not beside


class Workload(Model):
    """A Deployment or DaemonSet."""

    kind: str
    namespace: str
    name: str
    labels: dict[str, str]
    desired: int
    ready: int
    """Pods that are ready and of the present template."""
    conditions: tuple[Condition, ...] = ()
    images: tuple[str, ...]
    created: datetime
    uid: str
    generation: int
    pod_labels: dict[str, str] = {}
    """Those of its pod template; empty where the observation is older than this field."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""

    @property
    def available(self) -> bool:
        """Deployment: condition Available; DaemonSet: every wanted pod is ready."""
        if self.kind == "DaemonSet":
            return self.desired > 0 and self.ready >= self.desired
        return self.desired > 0 and any(c.type == "Available" and c.status == "True" for c in self.conditions)


class ServicePort(Model):
    """A port of a Service."""

    name: str
    port: int
    target_port: str
    app_protocol: str = ""
    node_port: int = 0
    """0 where it has none."""
    endpoint_port: int = 0
    """Of its endpoints (EndpointSlices); 0 where there are none, where they differ, and in older recordings."""


class Service(Model):
    """A Service, with the pods behind it."""

    namespace: str
    name: str
    type: str
    labels: dict[str, str]
    selector: dict[str, str]
    cluster_ip: str
    ports: tuple[ServicePort, ...]
    ingress: tuple[str, ...] = ()
    """Load balancer addresses as published: IP addresses or host names."""
    resolved: tuple[str, ...] = ()
    """The same as IP addresses."""
    external_name: str = ""
    """Type ExternalName: the host name that it stands for."""
    external_ips: tuple[str, ...] = ()
    """`spec.externalIPs`."""
    node_addresses: tuple[str, ...] = ()
    """Type NodePort: the external addresses of the nodes that its annotation traffic.istio.io/nodeSelector selects."""
    traffic_distribution: str = ""
    """`spec.trafficDistribution`, else the annotation networking.istio.io/traffic-distribution."""
    internal_traffic_policy: str = ""
    proxy_protocol: str = ""
    """The annotation `key: value` by which its load balancer is told to send the PROXY protocol; empty without one."""
    ready_endpoints: tuple[str, ...] = ()
    """Addresses of its ready endpoints (EndpointSlices)."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""


class ApiEvent(Model):
    """A Kubernetes event of type Warning in one of the mesh's namespaces, shortened."""

    namespace: str
    object: str
    """Kind/name."""
    reason: str
    message: str
    count: int
    last_seen: datetime | None


class ContainerLog(Model):
    """The few lines of a container's log that name a fault; read only where something is not as it should be."""

    namespace: str
    pod: str
    container: str
    lines: tuple[str, ...]
    """Warnings and errors, without times and secrets, the newest last, repeated ones once; of a container that has
    ended its last lines; or why its log could not be read."""
