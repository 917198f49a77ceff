"""What a topology lets one expect of an observation, and where in the observation to find it. Pure.

Requirements, causes and observers agree here on names: which Service is the east-west gateway, which ports others need
of it, which proxy belongs to a client, which cluster stands behind an endpoint.
"""

from collections.abc import Collection, Iterable
from ipaddress import ip_address

from harness.model import revisions
from harness.model.certificate import CaSecret
from harness.model.cluster import ClusterObservation, InjectionWebhook, MeshConfig, Pod, SailResource, Service, Workload
from harness.model.observation import Observation
from harness.model.proxy import EndpointSet, Proxy, ProxyEndpoint
from harness.model.topology import Cluster, Feature, Topology

GATEWAY = "istio-eastwestgateway"
HELLOWORLD = "helloworld"
SLEEP = "sleep"
PROXY = "istio-proxy"
NETWORK_LABEL = "topology.istio.io/network"
HELLOWORLD_PORT = 5000
MESH_PORT = 15443
"""Where a gateway passes mTLS traffic of other networks through."""
XDS_PORT = 15012
"""Where istiod serves configuration and certificates."""
WEBHOOK_PORT = 15017
"""Where istiod serves injection."""


def helloworld_server_name(namespace: str) -> str:
    """The SNI under which a gateway passes helloworld's traffic through."""
    return f"outbound_.{HELLOWORLD_PORT}_._.{HELLOWORLD}.{namespace}.svc.cluster.local"


def needed_ports(topology: Topology, target: Cluster) -> dict[int, tuple[Cluster, ...]]:
    """The ports of a cluster's gateway that others need, each with the clusters whose pods or API servers need it.

    15443 is needed by every cluster on another network, 15012 and 15017 by the remotes of a primary.
    """
    strangers = tuple(other for other in topology.others(target) if other.network != target.network)
    remotes = tuple(other for other in topology.remotes if other.primary == target.name)
    ports = {MESH_PORT: strangers, XDS_PORT: remotes, WEBHOOK_PORT: remotes}
    return {port: sources for port, sources in ports.items() if sources}


def gateways(topology: Topology) -> tuple[Cluster, ...]:
    """The clusters on which the chapter puts an east-west gateway."""
    return tuple(cluster for cluster in topology.clusters if topology.has_gateway(cluster))


def multi_network_gateways(topology: Topology) -> tuple[Cluster, ...]:
    """The clusters whose gateway passes services' traffic through; none on a single network."""
    return gateways(topology) if Feature.MULTI_NETWORK in topology.features else ()


def serving_primaries(topology: Topology) -> tuple[Cluster, ...]:
    """The primaries on which remotes depend."""
    return tuple(cluster for cluster in topology.primaries if topology.serves_remotes(cluster))


def gateway_service(observed: ClusterObservation) -> Service | None:
    """The Service of the east-west gateway: by the chapter's name, else by its label `istio=eastwestgateway`."""
    named = [service for service in observed.services if service.name == GATEWAY]
    labelled = [service for service in observed.services if service.labels.get("istio") == "eastwestgateway"]
    return next(iter(named + labelled), None)


def gateway_workload(observed: ClusterObservation) -> Workload | None:
    """The Deployment of the east-west gateway, found like its Service."""
    deployments = [workload for workload in observed.workloads if workload.kind == "Deployment"]
    named = [workload for workload in deployments if workload.name == GATEWAY]
    labelled = [workload for workload in deployments if workload.labels.get("istio") == "eastwestgateway"]
    return next(iter(named + labelled), None)


def gateway_proxies(observed: ClusterObservation) -> tuple[Proxy, ...]:
    """The Envoys of the east-west gateway."""
    service = gateway_service(observed)
    selected = {
        (pod.namespace, pod.name)
        for pod in observed.pods
        if service
        and service.selector
        and pod.namespace == service.namespace
        and service.selector.items() <= pod.labels.items()
    }
    return tuple(
        proxy for proxy in observed.proxies if proxy.role == GATEWAY or (proxy.namespace, proxy.pod) in selected
    )


def gateway_addresses(observed: ClusterObservation) -> tuple[str, ...]:
    """The gateway's load balancer addresses, host names resolved where they could be."""
    service = gateway_service(observed)
    return (service.resolved or service.ingress) if service else ()


def url_host(address: str) -> str:
    """An address as it stands before a port: one of IPv6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{address}]" if ":" in address else address


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a host name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def istiod_pods(observed: ClusterObservation, namespace: str | None = None) -> tuple[Pod, ...]:
    """The pods of control planes, in one namespace or in all."""
    return tuple(
        pod for pod in observed.lasting_pods if pod.labels.get("app") == "istiod" and namespace in {None, pod.namespace}
    )


def istiod_workloads(observed: ClusterObservation) -> tuple[Workload, ...]:
    """The Deployments of control planes."""
    return tuple(
        workload
        for workload in observed.workloads
        if workload.kind == "Deployment"
        and (workload.labels.get("app") == "istiod" or workload.name == "istiod" or workload.name.startswith("istiod-"))
    )


def istio_resource(observed: ClusterObservation) -> SailResource | None:
    """The operator's Istio resource: `default` (the chapter's name), else the only or first one."""
    found = [resource for resource in observed.sail if resource.kind == "Istio"]
    return next((resource for resource in found if resource.name == "default"), next(iter(found), None))


def injection_webhooks(observed: ClusterObservation, revision: str) -> tuple[InjectionWebhook, ...]:
    """The webhooks that inject for a revision, its own and those of its tags."""
    return tuple(webhook for webhook in observed.webhooks if revision in {webhook.revision, webhook.tag})


def is_helloworld(workload: Workload) -> bool:
    """Whether it is a version of helloworld, by the sample's label: a gateway of that name is none."""
    return workload.labels.get("app") == HELLOWORLD


def mesh_config(observed: ClusterObservation, revision: str) -> MeshConfig | None:
    """The mesh configuration of a revision, or the only one there is."""
    found = [config for config in observed.mesh_config if config.revision in {revision, ""}]
    return next(iter(found), observed.mesh_config[0] if len(observed.mesh_config) == 1 else None)


def trust_domain(observation: Observation) -> str:
    """The trust domain that was asked for; under verify-only the one the first primary is configured with."""
    asked = observation.asked
    if asked.mode == "verify-only":
        observed = observation[observation.topology.primaries[0]]
        config = mesh_config(observed, revisions.serving(observed, asked.sample_namespace))
        if config is not None:
            return str(config.mesh.get("trustDomain") or asked.trust_domain)
    return asked.trust_domain


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The identity of a workload (SPIFFE; Istio, "Istio identity")."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"


def signing_ca(observation: Observation, cluster: Cluster) -> CaSecret | None:
    """The `cacerts` that signs a cluster's workloads: that of the primary which serves it."""
    return observation[cluster.primary].ca_secret


def helloworld_pods(observed: ClusterObservation, namespace: str) -> tuple[Pod, ...]:
    """The helloworld pods that are ready."""
    return tuple(pod for pod in observed.pods_with(namespace, app=HELLOWORLD) if pod.ready and pod.ip)


def has_proxy(pod: Pod) -> bool:
    """Whether a sidecar or gateway proxy runs in the pod."""
    return pod.container(PROXY) is not None


def helloworld_endpoints(proxy: Proxy, namespace: str) -> EndpointSet | None:
    """The endpoints a proxy has for helloworld's port, subsets left aside."""
    prefix = f"outbound|{HELLOWORLD_PORT}||{HELLOWORLD}.{namespace}.svc."
    return next((found for found in proxy.endpoints if found.cluster.startswith(prefix)), None)


def addresses_of(observation: Observation, client: Cluster, target: Cluster) -> dict[tuple[str, int], int]:
    """Where a client's proxy must find a cluster's helloworld, each with the number of ready pods behind all of them.

    The pods themselves on its own network, the target's gateway at 15443 on another.
    """
    observed = observation[target]
    pods = helloworld_pods(observed, observation.asked.sample_namespace)
    if target.network == client.network:
        return {(pod.ip, HELLOWORLD_PORT): len(pods) for pod in pods}
    return {(address, MESH_PORT): len(pods) for address in gateway_addresses(observed)}


def endpoints_by_cluster(
    observation: Observation, client: Cluster, endpoints: Iterable[ProxyEndpoint]
) -> dict[str, list[ProxyEndpoint]] | None:
    """A client's endpoints by the name of the cluster behind each; None where one of them belongs to none."""
    owners = {
        address: target.name
        for target in observation.topology.clusters
        for address in addresses_of(observation, client, target)
    }
    found: dict[str, list[ProxyEndpoint]] = {}
    for endpoint in endpoints:
        owner = owners.get((endpoint.address, endpoint.port))
        if owner is None:
            return None
        found.setdefault(owner, []).append(endpoint)
    return found


def spread_over(topology: Topology, client: Cluster) -> tuple[tuple[Cluster, ...], ...]:
    """The clusters among which a client's proxy chooses for each call, those behind one network's gateways together.

    The client's proxy knows the endpoints of its own network, and of another network only the gateways. A gateway
    passes the proxy's connection through as it is: which of the network's endpoints it meets is decided once for the
    connection, not for each call on it (Istio issues 31549 and 32208).
    """
    near = tuple((cluster,) for cluster in topology.clusters if cluster.network == client.network)
    far = (network for network in topology.networks if network != client.network)
    return near + tuple(tuple(c for c in topology.clusters if c.network == network) for network in far)


def versions_apart(topology: Topology, client: Cluster) -> tuple[frozenset[str], ...]:
    """The versions of helloworld, grouped as `spread_over` groups their clusters: one of each answers in a mesh."""
    return tuple(frozenset(target.version for target in targets) for targets in spread_over(topology, client))


def unanswered(apart: Iterable[frozenset[str]], seen: Collection[str]) -> list[str]:
    """The groups of which no version answered, each in words."""
    return [" or ".join(sorted(versions)) for versions in apart if versions.isdisjoint(seen)]


def all_answered(apart: Iterable[frozenset[str]], seen: Collection[str]) -> bool:
    """Whether a version of each group answered."""
    return not unanswered(apart, seen)
