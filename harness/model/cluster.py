"""Everything that was read of one cluster."""

from harness.model.base import Model
from harness.model.certificate import CaSecret, Certificate
from harness.model.gateway_api import ApiGateway
from harness.model.istio import (
    AdmissionWebhook,
    ConfigObject,
    DryRun,
    InjectionWebhook,
    MeshConfig,
    RemoteAccess,
    RemoteSecret,
    SailResource,
    WebhookRule,
)
from harness.model.kubernetes import (
    ApiEvent,
    Condition,
    Container,
    ContainerLog,
    Namespace,
    Node,
    Pod,
    Service,
    ServicePort,
    Workload,
)
from harness.model.proxy import ControlPlane, Proxy
from harness.model.reading import (
    Reading,
    ReadOutcome,
    Subject,
)
from harness.model.ztunnel import Ztunnel

__all__ = [
    "AdmissionWebhook",
    "ApiEvent",
    "ApiGateway",
    "ClusterObservation",
    "Condition",
    "ConfigObject",
    "Container",
    "ContainerLog",
    "DryRun",
    "InjectionWebhook",
    "MeshConfig",
    "Namespace",
    "Node",
    "Pod",
    "ReadOutcome",
    "Reading",
    "RemoteAccess",
    "RemoteSecret",
    "SailResource",
    "Service",
    "ServicePort",
    "Subject",
    "WebhookRule",
    "Workload",
    "Ztunnel",
]


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
    cni_plugins: tuple[Workload, ...] | None = None
    """The DaemonSets of Istio's CNI plugin in every namespace; None where these were not read."""
    root_config_map: tuple[Certificate, ...] | None = None
    """`istio-ca-root-cert` of the sample namespace, or of the system namespace where a mesh of others has no sample's;
    None where it does not exist."""
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    sail: tuple[SailResource, ...] = ()
    webhooks: tuple[InjectionWebhook, ...] = ()
    validating_webhooks: tuple[InjectionWebhook, ...] = ()
    """Istio's, which check its configuration objects; empty also where they may not be read."""
    other_webhooks: tuple[AdmissionWebhook, ...] = ()
    """Of other vendors, about pods; empty also where they may not be read."""
    dry_run: DryRun | None = None
    config: tuple[ConfigObject, ...] = ()
    mesh_config: tuple[MeshConfig, ...] = ()
    remote_secrets: tuple[RemoteSecret, ...] = ()
    control_planes: tuple[ControlPlane, ...] = ()
    """One for each running istiod pod."""
    proxies: tuple[Proxy, ...] = ()
    """One for each pod with a proxy: workloads of the sample, and gateways."""
    ztunnels: tuple[Ztunnel, ...] = ()
    """One for each ztunnel that runs; empty where the data plane is none of ambient's."""
    api_gateways: tuple[ApiGateway, ...] = ()
    """Of the class istio-east-west, or labelled with a network; empty where the data plane is none of ambient's."""
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
            for pod in self.pods
            if pod.namespace == namespace and labels.items() <= pod.labels.items() and not (pod.deleting or pod.ended)
        )

    def reading(self, subject: str) -> Reading | None:
        """How reading that subject went; None where it was not attempted."""
        for reading in self.readings:
            if reading.subject == subject:
                return reading
        return None

    def was_read(self, *subjects: str) -> bool:
        """Whether all of it was read: only then does its absence say anything."""
        readings = map(self.reading, subjects)
        return all(reading is not None and reading.outcome is ReadOutcome.READ for reading in readings)
