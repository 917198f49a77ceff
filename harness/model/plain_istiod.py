"""What leads other networks to the ports of istiod that have no TLS. Pure.

Istio's expose-istiod.yaml leads 15012 and 15017 to istiod, where mutual TLS or a token protects them; its variant with
https ends TLS at the gateway and leads to the same ports. On 15010 istiod gives every caller the configuration of any
proxy, on 15014 and 8080 it answers with metrics and debug pages, all in plaintext (Istio, "Security best practices",
"Control plane"). A filter chain that AUTO_PASSTHROUGH makes for these ports (`outbound_.15010_._.istiod…`) is harmless:
it passes TLS on, and nothing there speaks it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.model import gateway_objects, gateways
from harness.model.cluster import ClusterObservation, ConfigObject, Service
from harness.model.observation import Observation
from harness.model.topology import Cluster

PORTS = {15010: "configuration in plaintext", 8080: "debug pages", 15014: "metrics and debug pages"}
"""istiod's ports without TLS, each with what is served there."""
_ITS_ALONE = frozenset({15010, 15014})
"""Of these the ones that nothing but istiod has: a Gateway that opens one means istiod's. 8080 is many an app's."""


@dataclass(frozen=True)
class Exposed:
    """One way from another network to a port of istiod without TLS."""

    cluster: str
    """Where the object stands."""
    object: str
    field: str
    found: str


def exposed(observation: Observation, cluster: Cluster) -> tuple[Exposed, ...]:
    """What leads through a cluster's east-west gateways to istiod's ports without TLS.

    Told by the Gateways and VirtualServices of its primary; what only Envoy shows (another object than these, or one
    that is not there any more) is told by the listener.
    """
    found = [*_by_servers(observation, cluster), *_by_routes(observation, cluster)]
    return tuple(dict.fromkeys(found or _by_listeners(observation, cluster)))


def _gateways(observation: Observation, cluster: Cluster) -> Iterator[ConfigObject]:
    return gateway_objects.configuring(observation, cluster, gateway_objects.services(observation, cluster))


def _by_servers(observation: Observation, cluster: Cluster) -> Iterator[Exposed]:
    for item in _gateways(observation, cluster):
        servers = [(server.get("port") or {}).get("number") for server in item.spec.get("servers") or ()]
        listeners = [listener.get("port") for listener in item.spec.get("listeners") or ()]
        for port in sorted({int(number or 0) for number in (*servers, *listeners)} & _ITS_ALONE):
            name, field = f"Gateway {item.namespace}/{item.name}", "listeners" if listeners else "servers"
            yield Exposed(cluster.primary, name, field, f"port {port}: {PORTS[port]}")


def _by_routes(observation: Observation, cluster: Cluster) -> Iterator[Exposed]:
    names = {f"{item.namespace}/{item.name}" for item in _gateways(observation, cluster)}
    for item in observation[cluster.primary].config:
        if item.kind != "VirtualService" or names.isdisjoint(_bound(item)):
            continue
        for kind, destination in _destinations(item):
            host, port = str(destination.get("host") or ""), int((destination.get("port") or {}).get("number") or 0)
            if port in PORTS and _is_istiod(host):
                name = f"VirtualService {item.namespace}/{item.name}"
                yield Exposed(cluster.primary, name, f"{kind} route", f"{host} port {port}: {PORTS[port]}")


def _bound(item: ConfigObject) -> set[str]:
    """The Gateways of a VirtualService, each with its namespace."""
    names = (str(name) for name in item.spec.get("gateways") or ())
    return {name if "/" in name else f"{item.namespace}/{name}" for name in names}


def _destinations(item: ConfigObject) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("http", "tcp", "tls"):
        for rule in item.spec.get(kind) or ():
            yield from ((kind, route.get("destination") or {}) for route in rule.get("route") or ())


def _by_listeners(observation: Observation, cluster: Cluster) -> Iterator[Exposed]:
    observed = observation[cluster]
    for service in gateway_objects.services(observation, cluster):
        for port, to in _envoys(observed, service):
            name = f"Service {service.namespace}/{service.name}"
            yield Exposed(cluster.name, name, f"Envoy's listener {port}", f"leads to {to}: {PORTS[_parts(to)[0]]}")


def _envoys(observed: ClusterObservation, service: Service) -> Iterable[tuple[int, str]]:
    return (
        (listener.port, to)
        for proxy in gateways.proxies(observed, service)
        for listener in proxy.listeners
        for chain in listener.chains
        for to in chain.clusters
        if _parts(to)[0] in PORTS and _is_istiod(_parts(to)[1])
    )


def _parts(name: str) -> tuple[int, str]:
    """Port and host of an outbound cluster of Envoy's, `outbound|PORT|SUBSET|HOST`; 0 for any other."""
    match name.split("|"):
        case ["outbound", port, _, host] if port.isdecimal():
            return int(port), host
        case _:
            return 0, ""


def _is_istiod(host: str) -> bool:
    """Whether a host is a Service of istiod's: `istiod`, or with its revision `istiod-REVISION`."""
    name = host.partition(".")[0]
    return name == "istiod" or name.startswith("istiod-")
