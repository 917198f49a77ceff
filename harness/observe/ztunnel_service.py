"""Which endpoints of a service a client was led to, as the access log of its node's ztunnel tells."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from harness.base.waiting import pause
from harness.kube.api import KubeApi
from harness.model.cluster import ClusterObservation, Pod
from harness.model.service import OwnService, ServiceRequest
from harness.model.traffic import HostStats
from harness.model.ztunnel import ZtunnelConnections
from harness.observe.ztunnel_log import LOOKS, PAUSE, Source, connections, read
from harness.observe.ztunnels import ztunnel_pods

Hosts = tuple[HostStats, ...]


def source(name: str, kube: KubeApi, observed: ClusterObservation, client: Pod) -> Source | None:
    """The ztunnel of a client's node; None where none runs."""
    return next((Source(name, kube, pod) for pod in ztunnel_pods(observed) if pod.node == client.node), None)


def hosts(
    ztunnel: Source,
    client: Pod,
    service: OwnService,
    requests: Sequence[ServiceRequest],
    since: Callable[[], float],
) -> Hosts | None:
    """The endpoints that a client's requests went to, each on a connection of its own; None where nothing tells them.

    ztunnel writes a line when a connection has ended: where some are not written yet, it is looked again.

    Args:
        ztunnel: of the client's node.
        client: the pod that sent.
        service: what it sent to.
        requests: what it sent.
        since: seconds since the first request was sent, now.
    """
    found: Hosts = ()
    for _ in range(LOOKS):
        if (text := read(ztunnel, since())) is None:
            return None
        rows = connections(ztunnel.cluster, ztunnel.pod.name, text, {client.namespace, service.namespace})
        found = by_endpoint(rows, client, service)
        if sum(host.requests for host in found) >= len(requests):
            break
        pause(PAUSE)
    silent = not found and any(not request.error for request in requests)
    return None if silent else found


def by_endpoint(rows: Iterable[ZtunnelConnections], client: Pod, service: OwnService) -> Hosts:
    """The connections of a client to a service, by where they went: a pod, or another network's gateway. Pure."""
    counted, failed = Counter[str](), Counter[str]()
    for row in rows:
        own = (row.direction, row.source, row.source_namespace) == ("outbound", client.name, client.namespace)
        if own and row.service.startswith(f"{service.name}.{service.namespace}.svc."):
            counted[row.address] += row.count
            failed[row.address] += row.count if row.error else 0
    return tuple(_host(address, count, failed[address]) for address, count in sorted(counted.items()))


def _host(address: str, requests: int, failures: int) -> HostStats:
    place, _, port = address.rpartition(":")
    return HostStats(
        address=place.strip("[]"),
        port=int(port) if port.isdecimal() else 0,
        requests=requests,
        errors=0,
        connect_failures=failures,
    )
