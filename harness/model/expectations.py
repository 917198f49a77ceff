"""What a topology lets one expect of an observation, and where in the observation to find it. Pure.

Requirements, causes and observers agree here on names: which Service is the east-west gateway, which ports others need
of it, which proxy belongs to a client, which cluster stands behind an endpoint.
"""

from collections.abc import Collection, Iterable

from harness.model import gateways as east_west
from harness.model import kubernetes, revisions
from harness.model.certificate import CaSecret
from harness.model.cluster import ClusterObservation, InjectionWebhook, MeshConfig, Pod, SailResource, Service, Workload
from harness.model.observation import Asked, Observation
from harness.model.proxy import Proxy
from harness.model.topology import Cluster, Feature, Topology

GATEWAY = east_west.GATEWAY
CNI_PLUGIN = "istio-cni-node"
"""The DaemonSet of Istio's CNI plugin, and the label k8s-app of it and of its pods."""
HELLOWORLD = "helloworld"
SLEEP = "sleep"
PROXY = kubernetes.PROXY
NETWORK_LABEL = east_west.NETWORK_LABEL
HELLOWORLD_PORT = 5000
MESH_PORT = east_west.MESH_PORT
HBONE_PORT = east_west.HBONE_PORT
XDS_PORT = east_west.XDS_PORT
WEBHOOK_PORT = east_west.WEBHOOK_PORT
MODE_LABEL = "istio.io/dataplane-mode"
"""On a namespace or a pod: ambient, or none."""
REDIRECTION = "ambient.istio.io/redirection"
"""The annotation of captured pods."""
GLOBAL_LABEL = "istio.io/global"
"""By which profile ambient takes a Service for one of all clusters."""
ZTUNNEL = "ztunnel"
"""Its DaemonSet, and the label app of its pods."""
is_address = east_west.is_address


CLUSTER_DOMAIN = "cluster.local"
"""The DNS domain of a cluster's Services where nothing says another one."""


def cluster_domain(observed: ClusterObservation) -> str:
    """The DNS domain by which a cluster's proxies know Services.

    As the names of Envoy's clusters say it, else `global.proxy.clusterDomain` of the control plane's values.
    """
    names = (known.cluster for proxy in observed.proxies for known in proxy.endpoints)
    said = (name.partition(".svc.")[2] for name in names)
    values = ((config.values.get("global") or {}).get("proxy") or {} for config in observed.mesh_config)
    configured = (str(each.get("clusterDomain") or "") for each in values)
    return next(filter(None, (*said, *configured)), CLUSTER_DOMAIN)


def mesh_port(asked: Asked) -> int:
    """The port of a gateway for services' traffic: of HBONE where ztunnels carry it."""
    return HBONE_PORT if asked.ambient else MESH_PORT


def needed_ports(topology: Topology, target: Cluster, mesh: int = MESH_PORT) -> dict[int, tuple[Cluster, ...]]:
    """The ports of a cluster's gateway that others need, each with the clusters whose pods or API servers need it.

    15443 (`mesh`: 15008 where ztunnels carry the traffic) is needed by every cluster on another network, 15012 and
    15017 by the remotes of a primary, or by every cluster whose control plane is outside of the mesh.
    """
    strangers = tuple(other for other in topology.others(target) if other.network != target.network)
    crossing = strangers if target in topology.clusters else ()
    dependents = topology.dependents(target)
    ports = {mesh: crossing, XDS_PORT: dependents, WEBHOOK_PORT: dependents}
    return {port: sources for port, sources in ports.items() if sources}


def gateways(topology: Topology) -> tuple[Cluster, ...]:
    """The clusters with a gateway: the chapter's east-west gateways, and those of hosts outside of the mesh."""
    return tuple(cluster for cluster in topology.every if topology.has_gateway(cluster))


def multi_network_gateways(topology: Topology) -> tuple[Cluster, ...]:
    """The clusters whose gateway passes services' traffic through; none on a single network."""
    return topology.clusters if Feature.MULTI_NETWORK in topology.features else ()


def serving_primaries(topology: Topology) -> tuple[Cluster, ...]:
    """The clusters with a control plane on which others depend: primaries, and hosts outside of the mesh."""
    return tuple(cluster for cluster in topology.every if topology.serves_remotes(cluster))


def gateway_service(observed: ClusterObservation) -> Service | None:
    """The Service of a cluster's first east-west gateway."""
    return next(iter(east_west.services(observed)), None)


def gateway_workload(observed: ClusterObservation) -> Workload | None:
    """The Deployment or DaemonSet of a cluster's first east-west gateway."""
    return east_west.workload(observed, gateway_service(observed))


def gateway_proxies(observed: ClusterObservation) -> tuple[Proxy, ...]:
    """The Envoys of all of a cluster's east-west gateways."""
    found = (proxy for service in east_west.services(observed) for proxy in east_west.proxies(observed, service))
    return tuple(dict.fromkeys(found))


def gateway_addresses(observed: ClusterObservation) -> tuple[str, ...]:
    """The external addresses of a cluster's first east-west gateway, host names resolved where they could be."""
    service = gateway_service(observed)
    return east_west.addresses(service) if service else ()


def network_name(observation: Observation, cluster: Cluster) -> str:
    """The default network of a cluster's pods: its system namespace's label, else what meshNetworks says of it.

    On a mesh of others the last resort is what injection labels every pod of the sample with: istiod takes a pod's own
    label first (Istio, pilot, endpoint builder).
    """
    namespace = observation[cluster].namespace(observation.asked.system_namespace)
    label = namespace.labels.get(NETWORK_LABEL, "") if namespace else ""
    configs = (config for primary in observation.topology.primaries for config in observation[primary].mesh_config)
    said = (
        name
        for config in configs
        for name, network in config.networks.items()
        for endpoint in (network or {}).get("endpoints") or ()
        if endpoint.get("fromRegistry") == cluster.cluster_name
    )
    return label or next(said, "") or _injected_network(observation, cluster)


def _injected_network(observation: Observation, cluster: Cluster) -> str:
    pods = [pod for pod in observation[cluster].pods_with(observation.asked.sample_namespace) if has_proxy(pod)]
    names = {pod.labels.get(NETWORK_LABEL, "") for pod in pods}
    return names.pop() if observation.asked.mode == "verify-only" and len(names) == 1 else ""


def url_host(address: str) -> str:
    """An address as it stands before a port: one of IPv6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{address}]" if ":" in address else address


def uses_cni(observation: Observation, observed: ClusterObservation) -> bool:
    """Whether a cluster is to have Istio's CNI plugin; a mesh of others may have it on some of its clusters only."""
    if observation.asked.ambient:
        return True
    if not observation.asked.cni or observation.asked.mode != "verify-only":
        return observation.asked.cni
    return needs_cni(observed)


def needs_cni(observed: ClusterObservation) -> bool:
    """Whether a cluster of somebody's mesh has Istio's CNI plugin, or relies on it and has lost it."""
    return _has_cni(observed) or _wants_cni(observed)


def relies_on_cni(pod: Pod) -> bool:
    """Whether the plugin redirects a pod's traffic: to its sidecar, where nothing else does, or to a ztunnel."""
    return is_captured(pod) or (has_proxy(pod) and not pod.is_gateway and pod.container("istio-init") is None)


def _has_cni(observed: ClusterObservation) -> bool:
    """Whether a DaemonSet or a pod of Istio's CNI plugin was seen."""
    named = any(workload.name == CNI_PLUGIN for workload in observed.workloads)
    return named or bool(observed.cni_plugins or cni_pods(observed))


def cni_pods(observed: ClusterObservation) -> tuple[Pod, ...]:
    """The pods of Istio's CNI plugin that are to last, in the namespaces that were read."""
    return tuple(filter(is_of_cni, observed.lasting_pods))


def is_of_cni(pod: Pod) -> bool:
    """Whether a pod is one of Istio's CNI plugin."""
    return pod.labels.get("k8s-app") == CNI_PLUGIN


def _wants_cni(observed: ClusterObservation) -> bool:
    """Whether injection leaves the redirection of traffic to the plugin.

    Sidecars have the init container istio-validation then, in place of istio-init. Where there are no sidecars it is
    what injection is configured with.
    """
    sidecars = [pod for pod in observed.lasting_pods if has_proxy(pod) and not pod.is_gateway]
    if sidecars:
        return any(pod.container("istio-validation") and not pod.container("istio-init") for pod in sidecars)
    pilots = (config.values.get("pilot") or {} for config in observed.mesh_config)
    return any((pilot.get("cni") or {}).get("enabled") for pilot in pilots)


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
    return pod.proxy is not None


def is_captured(pod: Pod) -> bool:
    """Whether the pod's traffic goes through its node's ztunnel: Istio's CNI plugin notes it when it is so."""
    return pod.annotations.get(REDIRECTION) == "enabled"


def in_mesh(pod: Pod) -> bool:
    """Whether its traffic goes through a proxy: its own, or its node's."""
    return has_proxy(pod) or is_captured(pod)


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
