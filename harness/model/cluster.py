"""What Kubernetes' API server of one cluster says: plain records of the objects that matter here."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from harness.model.base import Model
from harness.model.certificate import CaSecret, Certificate
from harness.model.proxy import ControlPlane, Proxy


class ReadOutcome(StrEnum):
    """How an attempt to read something ended."""

    READ = "read"
    FORBIDDEN = "forbidden"
    """Not permitted: what depends on it is skipped, by name."""
    UNREACHABLE = "unreachable"
    """Never answered since the first read: a fault of the environment; what depends on it is blocked."""
    LOST = "lost"
    """Answered before and not any more, or answered nonsense: unknown."""


class Reading(Model):
    """One thing the suite set out to read."""

    subject: str
    """What: one of the names of `Subject`."""
    outcome: ReadOutcome
    detail: str = ""


class Subject(StrEnum):
    """The things that are read of a cluster, each as a whole."""

    API_SERVER = "API server"
    NODES = "nodes"
    NAMESPACES = "namespaces"
    CA_SECRET = "cacerts secret"  # noqa: S105 - a name
    ROOT_CONFIG_MAP = "istio-ca-root-cert config map"
    WORKLOADS = "deployments and daemon sets"
    PODS = "pods"
    SERVICES = "services"
    SAIL = "Sail resources"
    WEBHOOKS = "injection webhooks"
    DRY_RUN = "injection dry run"
    CONFIG = "Istio configuration"
    MESH_CONFIG = "mesh configuration"
    REMOTE_SECRETS = "remote secrets"
    CONTROL_PLANE = "control plane's debug endpoints"
    PROXIES = "proxies' admin endpoints"
    EVENTS = "events"


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
    CA_ADDR, TRUST_DOMAIN; of istio-proxy and discovery only."""


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

    @property
    def ended(self) -> bool:
        """Whether none of its containers will run again: evicted ones stay listed."""
        return self.phase in {"Succeeded", "Failed"}

    def container(self, name: str) -> Container | None:
        """The container, or init container, of that name."""
        return next((container for container in self.containers if container.name == name), None)


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
    ready_endpoints: tuple[str, ...] = ()
    """Addresses of its ready endpoints (EndpointSlices)."""


class SailResource(Model):
    """An Istio, IstioCNI or IstioRevision resource of the Sail operator."""

    api_version: str
    kind: str
    name: str
    generation: int
    observed_generation: int | None
    created: datetime
    spec: dict[str, Any]
    state: str = ""
    """`status.state`: one word that sums the conditions up."""
    conditions: tuple[Condition, ...] = ()


class WebhookRule(Model):
    """One webhook of an injection webhook configuration."""

    name: str
    url: str = ""
    """Set where it calls an address; else `service` is."""
    service: str = ""
    """namespace/name:port of the Service it calls."""
    path: str = ""
    ca_bundle: tuple[Certificate, ...] = ()
    failure_policy: str = ""


class InjectionWebhook(Model):
    """A MutatingWebhookConfiguration that injects sidecars."""

    name: str
    revision: str
    tag: str = ""
    annotations: dict[str, str] = {}
    """Those of sailoperator.io only: they explain a remote that is not ready."""
    webhooks: tuple[WebhookRule, ...]


class DryRun(Model):
    """A pod sent to the API server as a server-side dry run in the sample namespace."""

    injected: bool
    """It came back with an istio-proxy container."""
    error: str = ""
    """What the API server said instead."""


class ConfigObject(Model):
    """An Istio configuration object: Gateway, VirtualService, DestinationRule, PeerAuthentication and the like."""

    api_version: str
    kind: str
    namespace: str
    name: str
    labels: dict[str, str] = {}
    spec: dict[str, Any]
    generation: int = 0


class MeshConfig(Model):
    """What the control plane's config maps say, of one revision."""

    revision: str
    mesh: dict[str, Any]
    """The `mesh` entry of config map `istio`, parsed."""
    values: dict[str, Any]
    """The `values` entry of config map `istio-sidecar-injector`, parsed; only its `global`, `pilot`, `revision` and
    `istiodRemote` parts."""


class RemoteSecret(Model):
    """A remote secret: the kubeconfig with which a control plane reads another cluster (never its token)."""

    namespace: str
    name: str
    labelled: bool
    """It carries istio/multiCluster=true, without which istiod does not see it."""
    clusters: tuple[str, ...]
    """The cluster names it is keyed by."""
    servers: tuple[str, ...]
    """API server URL for each of `clusters`."""
    has_token: bool
    created: datetime


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


class ClusterObservation(Model):
    """Everything read of one cluster."""

    name: str
    """The topology's name for it."""
    context: str
    api_server: str
    """URL as the other clusters must use it."""
    kubernetes_version: str = ""
    readings: tuple[Reading, ...] = ()
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    ca_secret: CaSecret | None = None
    root_config_map: tuple[Certificate, ...] | None = None
    """`istio-ca-root-cert` of the sample namespace; None where it does not exist."""
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    sail: tuple[SailResource, ...] = ()
    webhooks: tuple[InjectionWebhook, ...] = ()
    dry_run: DryRun | None = None
    config: tuple[ConfigObject, ...] = ()
    mesh_config: tuple[MeshConfig, ...] = ()
    remote_secrets: tuple[RemoteSecret, ...] = ()
    control_planes: tuple[ControlPlane, ...] = ()
    """One for each running istiod pod."""
    proxies: tuple[Proxy, ...] = ()
    """One for each pod with a proxy: workloads of the sample, and gateways."""
    events: tuple[ApiEvent, ...] = ()
    logs: tuple[ContainerLog, ...] = ()
    """Beside those of istiod, which are with the control planes."""

    def namespace(self, name: str) -> Namespace | None:
        """The namespace of that name."""
        return next((namespace for namespace in self.namespaces if namespace.name == name), None)

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service of that name."""
        return next((s for s in self.services if (s.namespace, s.name) == (namespace, name)), None)

    def workload(self, namespace: str, name: str, kind: str = "Deployment") -> Workload | None:
        """The Deployment (or DaemonSet) of that name."""
        wanted = (kind, namespace, name)
        return next((w for w in self.workloads if (w.kind, w.namespace, w.name) == wanted), None)

    @property
    def lasting_pods(self) -> tuple[Pod, ...]:
        """The pods that are neither being deleted nor ended."""
        return tuple(pod for pod in self.pods if not (pod.deleting or pod.ended))

    def pods_with(self, namespace: str, **labels: str) -> tuple[Pod, ...]:
        """The lasting pods of a namespace that carry these labels."""
        return tuple(
            pod
            for pod in self.lasting_pods
            if pod.namespace == namespace and all(pod.labels.get(key) == value for key, value in labels.items())
        )

    def reading(self, subject: str) -> Reading | None:
        """How reading that subject went; None where it was not attempted."""
        return next((reading for reading in self.readings if reading.subject == subject), None)
