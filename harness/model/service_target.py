"""What stands behind a service of somebody's own, and where a client finds it. Pure."""

from collections.abc import Iterable

from harness.model import gateways
from harness.model.cluster import ClusterObservation, Pod, Workload
from harness.model.observation import Observation
from harness.model.policies import protocol as protocol_of
from harness.model.service import OwnService, ServiceProtocol
from harness.model.topology import Cluster

_GRPC = ("grpc", "grpc-web")
_TCP = ("tcp", "mongo", "mysql", "redis", "tls", "https")


def protocol(clusters: Iterable[ClusterObservation], service: OwnService) -> ServiceProtocol:
    """As Istio tells it by the port's appProtocol or name; HTTP where neither says, as Envoy then finds out itself."""
    ports = (p for c in clusters if (s := c.service(service.namespace, service.name)) for p in s.ports)
    found = next((protocol_of(port).lower() for port in ports if port.port == service.port), "")
    if found in _GRPC:
        return ServiceProtocol.GRPC
    return ServiceProtocol.TCP if found in _TCP else ServiceProtocol.HTTP


def pods(observed: ClusterObservation, service: OwnService) -> tuple[Pod, ...]:
    """The ready pods that the Service selects on a cluster."""
    found = observed.service(service.namespace, service.name)
    return tuple(pod for pod in gateways.selected(observed, found) if pod.ready and pod.ip) if found else ()


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


def addresses(observation: Observation, client: Cluster, target: Cluster, service: OwnService) -> frozenset[str]:
    """The addresses behind which a client's proxy finds a cluster's pods: their own, or those of gateways."""
    if target.network == client.network:
        return frozenset(pod.ip for pod in pods(observation[target], service))
    found = gateways.entrances(observation.topology, observation, target)
    return frozenset(entrance.address for entrance in found)
