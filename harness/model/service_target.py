"""A service of somebody's own: its protocol, and the workloads behind it. Pure."""

from collections.abc import Iterable

from harness.model.cluster import ClusterObservation, Workload
from harness.model.policies import protocol as protocol_of
from harness.model.service import OwnService, ServiceProtocol

_GRPC = ("grpc", "grpc-web")
_TCP = ("tcp", "mongo", "mysql", "redis", "tls", "https")


def protocol(clusters: Iterable[ClusterObservation], service: OwnService) -> ServiceProtocol:
    """As Istio tells it by the port's appProtocol or name; HTTP where neither says, as Envoy then finds out itself."""
    ports = (p for c in clusters if (s := c.service(service.namespace, service.name)) for p in s.ports)
    found = next((protocol_of(port).lower() for port in ports if port.port == service.port), "")
    if found in _GRPC:
        return ServiceProtocol.GRPC
    return ServiceProtocol.TCP if found in _TCP else ServiceProtocol.HTTP


def workloads(observed: ClusterObservation, service: OwnService) -> tuple[Workload, ...]:
    """The workloads whose pods the Service selects, also those that have none now."""
    found = observed.service(service.namespace, service.name)
    if found is None or not found.selector:
        return ()
    return tuple(
        w
        for w in observed.workloads
        if w.namespace == service.namespace and found.selector.items() <= w.pod_labels.items()
    )
