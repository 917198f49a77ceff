"""How a client's proxy shares requests out over a service's endpoints, and which settings decide it. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.model import requested, route_destinations
from harness.model.client_endpoints import addresses_of, by_cluster
from harness.model.clients import client_pods, client_proxies
from harness.model.expectations import cluster_domain
from harness.model.istio import ConfigObject
from harness.model.observation import Observation
from harness.model.odds import COVERAGE_FALSE_ALARM
from harness.model.policies import ROUTES, is_about_requested, settings
from harness.model.proxy import ProxyEndpoint
from harness.model.topology import Cluster

ROUTING = ("VirtualService", *ROUTES)
"""Kinds that may share requests out by weights of their own."""


def _endpoints(observation: Observation, client: Cluster) -> tuple[ProxyEndpoint, ...]:
    proxy = next(iter(client_proxies(observation, client)), None)
    known = requested.endpoints(proxy, observation.asked) if proxy else None
    return known.endpoints if known else ()


def promised_weights(observation: Observation, client: Cluster) -> dict[str, int]:
    """By version, the weight of healthy endpoints in a client's proxy; empty where they can't be told.

    One gateway may stand for several clusters of its network: its weight is given under the version of the first.
    """
    healthy = [endpoint for endpoint in _endpoints(observation, client) if endpoint.healthy]
    owned = by_cluster(observation, client, healthy) or {}
    topology, found = observation.topology, Counter[str]()
    for owners, endpoints in owned.items():
        if len({topology[name].network for name in owners}) > 1:
            return {}
        found[topology[owners[0]].version] += sum(endpoint.weight for endpoint in endpoints)
    return dict(found)


def knows_endpoints(observation: Observation, client: Cluster) -> bool:
    """Whether the endpoints of the service in a client's proxy are known."""
    return bool(_endpoints(observation, client))


def endpoints_of(observation: Observation, client: Cluster, target: Cluster) -> tuple[ProxyEndpoint, ...]:
    """A cluster's endpoints in a client's proxy."""
    theirs = addresses_of(observation, client, target)
    return tuple(each for each in _endpoints(observation, client) if (each.address, each.port) in theirs)


def standby(observation: Observation, client: Cluster, target: Cluster) -> tuple[ProxyEndpoint, ...]:
    """A cluster's endpoints that a client's proxy uses only when preferred ones fail; empty where it uses one now.

    Priorities are read from the proxy. In a recording without them the locality decides, where a setting prefers the
    near one. Source: Envoy, "Priority levels".
    """
    endpoints, mine = _endpoints(observation, client), endpoints_of(observation, client, target)
    ranks = {(e.address, e.port): _rank(observation, client, e) for e in endpoints}
    preferred = [ranks[e.address, e.port] for e in endpoints if e.healthy and e not in mine]
    if not mine or not preferred:
        return ()
    return mine if min(preferred) < min(ranks[e.address, e.port] for e in mine) else ()


def not_asked(
    observation: Observation, client: Cluster, target: Cluster, count: int, *, failed: bool
) -> tuple[str, tuple[ProxyEndpoint, ...]]:
    """The setting that explains why a cluster answered none of a client's requests, and its endpoints; else empty.

    Args:
        observation: the run.
        client: who sent.
        target: who did not answer.
        count: of the requests.
        failed: some failed; then only endpoints that stand by for failover are explained.
    """
    if waiting := standby(observation, client, target):
        return "stand by for failover", waiting
    why = "" if failed else seldom_asked(observation, client, count)
    return (why, endpoints_of(observation, client, target)) if why else ("", ())


def _rank(observation: Observation, client: Cluster, endpoint: ProxyEndpoint) -> int:
    if endpoint.priority is not None:
        return endpoint.priority
    if not any(_prefers_near(observation, client)):
        return 0
    own = addresses_of(observation, client, client)
    near = {e.locality for e in _endpoints(observation, client) if (e.address, e.port) in own}
    return 0 if endpoint.locality in near else 1


def decided_otherwise(observation: Observation, client: Cluster) -> str:
    """Why a client's answers do not follow the weights of the endpoints, request by request; empty where they do."""
    ranks = {_rank(observation, client, e) for e in _endpoints(observation, client)}
    if len(ranks) > 1:
        return f"its endpoints have {len(ranks)} priorities: the nearer ones take all requests while they are healthy"
    return next(iter([*_prefers_near(observation, client), *_routed(observation, client)]), "")


def policies_of(observation: Observation, client: Cluster, kind: str) -> Iterator[ConfigObject]:
    """The objects of a kind about that service that configure a client's proxy: those of its primary."""
    for item in observation[client.primary].config:
        if item.kind == kind and is_about_requested(observation, item):
            yield item


def near_setting(policy: dict[str, Any]) -> str:
    """What makes a load balancing setting prefer near endpoints, in words; empty where it doesn't.

    Istio applies a locality setting by `distribute`; anything else only with outlier detection.
    Source: Istio, pilot/pkg/networking/core/loadbalancer.
    """
    balancer = policy.get("loadBalancer") or {}
    zones, places = balancer.get("zoneAwareLbSetting"), balancer.get("localityLbSetting")
    fails_over = policy.get("outlierDetection") is not None
    if zones is not None:
        return f"zoneAwareLbSetting {zones}" if zones.get("enabled") is not False else ""
    if places is None:
        return "outlierDetection, failover by locality" if fails_over else ""
    acts = places.get("enabled") is not False and (fails_over or places.get("distribute"))
    return f"localityLbSetting {places}" if acts else ""


def of_port(policy: dict[str, Any], port: int) -> dict[str, Any]:
    """What of a traffic policy holds for a port: its own settings, which inherit nothing, else the general ones.

    Source: Istio, "Destination Rule", portLevelSettings.
    """
    ports = policy.get("portLevelSettings") or ()
    return next((each for each in ports if (each.get("port") or {}).get("number") == port), policy)


def _traffic_policies(observation: Observation, client: Cluster) -> Iterator[tuple[ConfigObject, dict[str, Any]]]:
    """The traffic policies that hold for the requests: of the port, and of those subsets that a route names."""
    asking, port = _asking(observation, client), requested.service(observation.asked).port
    routes = policies_of(observation, client, "VirtualService")
    named = {subset for item in routes for subset in route_destinations.subsets(item, asking)}
    for item in policies_of(observation, client, "DestinationRule"):
        own = [each for each in item.spec.get("subsets") or () if each.get("name") in named]
        for holder in (item.spec, *own):
            yield item, of_port(holder.get("trafficPolicy") or {}, port)


def _prefers_near(observation: Observation, client: Cluster) -> Iterator[str]:
    for item, policy in _traffic_policies(observation, client):
        if said := near_setting(policy):
            yield f"DestinationRule {item.namespace}/{item.name}: {said}"
    mesh = settings(observation, observation[client.primary])
    if said := mesh_wide(mesh):
        yield f"mesh configuration: {said}"
    service = requested.found(observation[client.primary], observation.asked)
    if service and service.traffic_distribution:
        yield f"Service {service.name}: trafficDistribution {service.traffic_distribution}"
    if service and service.internal_traffic_policy == "Local":
        yield f"Service {service.name}: internalTrafficPolicy Local"


def mesh_wide(mesh: dict[str, Any]) -> str:
    """What in a mesh configuration spreads traffic by locality, in words; empty where nothing does."""
    zones, places = mesh.get("zoneAwareLbSetting"), mesh.get("localityLbSetting") or {}
    if zones and zones.get("enabled") is not False:
        return f"zoneAwareLbSetting {zones}"
    if places.get("distribute") and places.get("enabled") is not False:
        return f"localityLbSetting.distribute {places['distribute']}"
    return ""


def _routed(observation: Observation, client: Cluster) -> Iterator[str]:
    yield from _hashed(observation, client)
    for item in _weighted(observation, client):
        yield _weights_of(item)
    if said := sent_to_others(observation, client) or _sent_to_one_subset(observation, client):
        yield said


def sent_to_others(observation: Observation, client: Cluster) -> str:
    """The route that sends a client's requests to other services, in words; empty where there is none.

    Source: Gateway API, "GAMMA"; Istio, "Traffic Shifting", with a Service for each version.
    """
    asking, routes = _asking(observation, client), _routes(observation, client)
    return next(filter(None, (route_destinations.to_others(item, asking) for item in routes)), "")


def _sent_to_one_subset(observation: Observation, client: Cluster) -> str:
    """The route that sends a client's requests to one subset, in words; empty where there is none.

    Source: Istio, "Multi-cluster Traffic Management", partitioning services; "Request Routing".
    """
    asking, routes = _asking(observation, client), _routes(observation, client)
    return next(filter(None, (route_destinations.to_one_subset(item, asking) for item in routes)), "")


def _routes(observation: Observation, client: Cluster) -> Iterator[ConfigObject]:
    for kind in ROUTING:
        yield from policies_of(observation, client, kind)


def _asking(observation: Observation, client: Cluster) -> route_destinations.Asking:
    asked, service = observation.asked, requested.service(observation.asked)
    pod = next(iter(client_pods(observation[client], asked)), None)
    # istiod knows a proxy by these labels, too, whether its pod has them or not.
    place = {"topology.istio.io/cluster": client.cluster_name, "topology.istio.io/network": client.network}
    return route_destinations.Asking(
        service=service,
        path=service.path if asked.service else "/hello",
        labels={**(pod.labels if pod else {}), **place},
        namespace=pod.namespace if pod else asked.sample_namespace,
        domains={cluster_domain(observed) for observed in observation.clusters},
    )


def _hashed(observation: Observation, client: Cluster) -> Iterator[str]:
    for item, policy in _traffic_policies(observation, client):
        if "consistentHash" in (policy.get("loadBalancer") or {}):
            yield f"DestinationRule {item.namespace}/{item.name}: consistentHash sends like requests to one endpoint"


def _weighted(observation: Observation, client: Cluster) -> Iterator[ConfigObject]:
    yield from (item for item in _routes(observation, client) if route_weights(item))


def seldom_asked(observation: Observation, client: Cluster, count: int) -> str:
    """The setting by which a destination may get none of so many requests, in words; empty where there is none.

    A route may send all of them to one subset, or to other services. Consistent hashing sends like requests to one
    endpoint. A route of small weight gets none of n requests with probability (1 - share)^n; where that is more than
    TR-REACH's rate of false alarms, silence shows nothing.
    """
    for item in _weighted(observation, client):
        for destinations in _rules(item):
            weights = [weight for _, weight in destinations]
            least = min(weights) / (sum(weights) or 1)
            if (1 - least) ** count > COVERAGE_FALSE_ALARM:
                return _weights_of(item)
    sent = sent_to_others(observation, client) or _sent_to_one_subset(observation, client)
    return sent or next(_hashed(observation, client), "")


def _weights_of(item: ConfigObject) -> str:
    return f"{item.kind} {item.namespace}/{item.name}: weights of routes: {', '.join(route_weights(item))}"


def route_weights(item: ConfigObject) -> tuple[str, ...]:
    """The weighted routes of a VirtualService, or of a route of the Gateway API, each `destination weight`."""
    return tuple(f"{name} {weight}" for destinations in _rules(item) for name, weight in destinations)


def _rules(item: ConfigObject) -> Iterator[list[tuple[str, int]]]:
    """Of each rule with weights, its destinations with theirs.

    In the Gateway API a backend without a weight has 1, and the only one of a rule gets all (HTTPBackendRef).
    """
    if item.kind in ROUTES:
        for rule in item.spec.get("rules") or ():
            backends = rule.get("backendRefs") or ()
            if len(backends) > 1:
                yield [(str(each.get("name")), int(each.get("weight", 1))) for each in backends]
        return
    for rule in (rule for kind in ("http", "tcp", "tls") for rule in item.spec.get(kind) or ()):
        routes = [route for route in rule.get("route") or () if "weight" in route]
        if routes:
            yield [(_destination(route.get("destination") or {}), int(route["weight"])) for route in routes]


def _destination(destination: dict[str, Any]) -> str:
    return str(destination.get("subset") or destination.get("host"))
