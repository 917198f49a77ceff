"""Which of a mesh's policies and settings concern helloworld's traffic between the clusters. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from harness.model import expectations, gateways, requested
from harness.model.clients import client_pods
from harness.model.cluster import ClusterObservation, Subject
from harness.model.expectations import cluster_domain, mesh_config
from harness.model.istio import ConfigObject
from harness.model.kubernetes import Pod, Service, ServicePort
from harness.model.label_selector import selects
from harness.model.observation import Asked, Observation
from harness.model.revisions import revision
from harness.model.service import OwnService

BY_HOST = ("DestinationRule", "ServiceEntry", "VirtualService")
ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute")
"""Of the Gateway API; attached to a Service they hold for requests to it (GAMMA; Istio, "Kubernetes Gateway API")."""
FROM_ANY_NAMESPACE = ("ServiceEntry", "VirtualService")
"""Kinds that hold for the hosts they name wherever they stand, as far as they are exported (Istio, `exportTo`)."""
BY_WORKLOAD = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Sidecar")
PER_PROXY = ("EnvoyFilter", "ProxyConfig", "Telemetry", "WasmPlugin")
"""What these change stays within a proxy; on a mesh of others it may differ. An EnvoyFilter that harms shows in what
the proxies refuse (XDS-SYNCED), in GW-DATAPATH, or in the traffic."""
SETTINGS = (
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "discoverySelectors",
    "enableAutoMtls",
    "h2UpgradePolicy",
    "localityLbSetting",
    "meshMTLS",
    "protocolDetectionTimeout",
    "rootNamespace",
    "serviceSettings",
    "zoneAwareLbSetting",
)
"""Keys of the mesh configuration that decide how traffic goes between clusters.

serviceScopeConfigs is none of them: the ambient profile sets it, and sidecars never see it (Istio,
pilot/pkg/serviceregistry/ambient/services.go).
"""
DEFAULTS = {
    "defaultDestinationRuleExportTo": ["*"],
    "defaultServiceExportTo": ["*"],
    "defaultVirtualServiceExportTo": ["*"],
    "enableAutoMtls": True,
    "h2UpgradePolicy": "DO_NOT_UPGRADE",
    "localityLbSetting": {"enabled": True},
    "meshMTLS": {"minProtocolVersion": "TLSV1_2"},
    "protocolDetectionTimeout": "0s",
}
"""What istiod takes for granted: as good written out as left out. Source: Istio, pkg/config/mesh, DefaultMeshConfig."""
_PROTOCOLS = frozenset(
    ("tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql")
)
_KUBERNETES_PROTOCOLS = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
_NOT_SNIFFED = (25, 53, 3306, 27017)


def protocol(port: ServicePort) -> str:
    """The protocol that Istio takes a port for; `detected` where neither appProtocol nor the name says one.

    Source: Istio, pkg/config/kube/conversion.go, ConvertProtocol.
    """
    name = port.app_protocol or port.name
    if port.app_protocol in _KUBERNETES_PROTOCOLS:
        return _KUBERNETES_PROTOCOLS[port.app_protocol]
    if name.lower().startswith("grpc-web"):
        return "grpc-web"
    said = name.partition("-")[0].lower()
    return said if said in _PROTOCOLS else "tcp" if port.port in _NOT_SNIFFED else "detected"


def ports(service: Service) -> tuple[str, ...]:
    """A Service's ports as Istio tells them apart: name, number, protocol. Endpoints are found by the port's name."""
    return tuple(sorted(f"{port.name} {port.port} {protocol(port)}" for port in service.ports))


def settings(observation: Observation, observed: ClusterObservation) -> dict[str, Any]:
    """The mesh configuration of a control plane; {} where it is not known."""
    found = mesh_config(observed, revision(observation, observed))
    return found.mesh if found else {}


def written(observation: Observation, mesh: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a mesh configuration, without those that change nothing of the mesh that is looked at."""
    return {
        key: value
        for key, value in mesh.items()
        if not (key in DEFAULTS and value == DEFAULTS[key])
        and not (key == "discoverySelectors" and _selects_all_needed(observation, value))
    }


def _selects_all_needed(observation: Observation, selectors: Iterable[Mapping[str, Any]] | None) -> bool:
    """Whether on a mesh of others discovery selectors leave out no namespace that requests between clusters need.

    Where several meshes share a cluster, each needs them there, and the primaries on other clusters do not.
    """
    asked, found = observation.asked, list(selectors or ({},))
    wanted = {asked.system_namespace, requested.service(asked).namespace, asked.sample_namespace}
    wanted |= {asked.client.namespace} if asked.client else set()
    labels = []
    for observed in observation.clusters:
        names = wanted | {service.namespace for service in gateways.services(observed)}
        labels += [each.labels for each in observed.namespaces if each.name in names]
    read = all(observed.was_read(Subject.NAMESPACES) for observed in observation.clusters)
    selected = all(any(selects(each, own) for each in found) for own in labels)
    return asked.mode == "verify-only" and read and selected


def root_namespace(observation: Observation, observed: ClusterObservation) -> str:
    """The namespace whose policies hold for the whole mesh."""
    return str(settings(observation, observed).get("rootNamespace") or observation.asked.system_namespace)


def traffic_policies(observation: Observation, observed: ClusterObservation) -> dict[str, ConfigObject]:
    """The policies that can hold for helloworld's traffic, by kind and name.

    They stand in the sample's or the root namespace, but for those kinds that hold from anywhere. Left aside: routes of
    gateways only, what names other hosts, and what selects neither a pod of the sample nor, on a mesh that the run
    installed, one of an east-west gateway.
    """
    namespaces = {observation.asked.sample_namespace, root_namespace(observation, observed)}
    return {
        f"{item.kind} {item.namespace}/{item.name}": item
        for item in observed.config
        if (item.namespace in namespaces or item.kind in FROM_ANY_NAMESPACE)
        and _concerns(observation, item)
        and not _says_the_default(observation, observed, item)
    }


def _says_the_default(observation: Observation, observed: ClusterObservation, item: ConfigObject) -> bool:
    """Whether on a mesh of others a PeerAuthentication says for all workloads what holds without it: PERMISSIVE."""
    mode = (item.spec.get("mtls") or {}).get("mode") or "UNSET"
    return (
        (observation.asked.mode, item.kind) == ("verify-only", "PeerAuthentication")
        and item.namespace == root_namespace(observation, observed)
        and not {"selector", "portLevelMtls"} & item.spec.keys()
        and mode in {"PERMISSIVE", "UNSET"}
    )


def _concerns(observation: Observation, item: ConfigObject) -> bool:
    if item.kind in BY_HOST + ROUTES:
        return is_about_requested(observation, item)
    if item.kind in PER_PROXY and observation.asked.mode == "verify-only":
        return False
    # On a mesh of others a gateway may have policies of its own: it obeys no other control plane.
    gateways_too = observation.asked.mode == "install"
    everyones = _is_mesh_wide(observation, item) or any(_selected(observation, item, gateways_too=gateways_too))
    return item.kind in BY_WORKLOAD + PER_PROXY and everyones


def _is_mesh_wide(observation: Observation, item: ConfigObject) -> bool:
    """Whether a policy holds for every workload of a mesh, also for those that were not looked at."""
    narrowed = {"selector", "workloadSelector", "targetRef", "targetRefs"} & item.spec.keys()
    return not narrowed and any(item.namespace == root_namespace(observation, seen) for seen in observation.clusters)


def is_about_requested(observation: Observation, item: ConfigObject) -> bool:
    """Whether an object's hosts take helloworld in, or the user's service, and it holds within the mesh."""
    if item.kind in ROUTES:
        return _is_attached(item, requested.service(observation.asked))
    if item.kind in FROM_ANY_NAMESPACE and not _is_exported(observation.asked, item.namespace, item.spec):
        return False
    hosts = item.spec.get("hosts") or item.spec.get("host") or []
    inside = "mesh" in (item.spec.get("gateways") or ["mesh"])
    domains = {cluster_domain(observed) for observed in observation.clusters}
    return inside and mentions(observation.asked, hosts, item.namespace, domains)


def _is_attached(route: ConfigObject, service: OwnService) -> bool:
    return any(
        (reference.get("kind"), reference.get("name")) == ("Service", service.name)
        and (reference.get("namespace") or route.namespace) == service.namespace
        and reference.get("port") in {None, service.port}
        for reference in route.spec.get("parentRefs") or ()
    )


def reaches_requested(asked: Asked, kind: str, namespace: str, spec: Mapping[str, Any]) -> bool:
    """Whether an object of a namespace names helloworld, or the user's service, and is exported to its clients.

    Source: Istio, "Virtual Service" and "Service Entry", exportTo.
    """
    reaches = kind in FROM_ANY_NAMESPACE and _is_exported(asked, namespace, spec)
    return reaches and mentions(asked, spec.get("hosts") or [], namespace)


def _is_exported(asked: Asked, namespace: str, spec: Mapping[str, Any]) -> bool:
    """Whether the clients' namespaces see an object; a dot stands for the object's own."""
    exported = {namespace if name == "." else name for name in spec.get("exportTo") or ["*"]}
    clients = {asked.sample_namespace, *({asked.client.namespace} if asked.client else ())}
    return not exported.isdisjoint({"*", *clients})


def mentions(
    asked: Asked, hosts: object, namespace: str = "", domains: Collection[str] = (expectations.CLUSTER_DOMAIN,)
) -> bool:
    """Whether hosts take helloworld in, or the user's service. A short name is meant in the namespace of its object.

    Source: Istio, "Destination Rule", host.
    """
    service = requested.service(asked)
    names = map(str, hosts if isinstance(hosts, list) else [hosts])
    return any(
        is_host_of(name, service, namespace, domains) or name.startswith(f"{service.name}.{service.namespace}.svc.")
        for name in names
    )


def is_host_of(
    host: str,
    service: OwnService,
    namespace: str = "",
    domains: Collection[str] = (expectations.CLUSTER_DOMAIN,),
) -> bool:
    """Whether a host takes a Service in: by its short or its full name, or by a wildcard.

    Source: Istio, "Destination Rule", host: a short name is meant in the namespace of its object.
    """
    inside = f"{service.name}.{service.namespace}.svc"
    short = {inside, inside.removesuffix(".svc")}
    short |= {service.name} if namespace in {"", service.namespace} else set()
    return host in short or any(fnmatch(f"{inside}.{domain}", host) for domain in domains)


def holds_for_requested(observation: Observation, item: ConfigObject) -> bool:
    """Whether a policy holds for a pod of helloworld, or of the user's service, on some cluster."""
    return any(
        _holds(item, pod, observation, observed)
        for observed in observation.clusters
        for pod in requested.pods(observed, observation.asked)
    )


def holds_for(observation: Observation, observed: ClusterObservation, item: ConfigObject, pods: Iterable[Pod]) -> bool:
    """Whether a policy holds for one of these pods of a cluster."""
    return any(_holds(item, pod, observation, observed) for pod in pods)


def holds_anywhere(observation: Observation, item: ConfigObject) -> bool:
    """Whether a policy holds for a pod of the sample or of an east-west gateway."""
    return any(_selected(observation, item))


def _selected(observation: Observation, item: ConfigObject, *, gateways_too: bool = True) -> Iterator[bool]:
    """For each pod of the sample (or the user's service and clients) and of the gateways, whether a policy holds."""
    asked = observation.asked
    for observed in observation.clusters:
        entrances = _gateway_pods(observed) if gateways_too else ()
        for pod in (*requested.pods(observed, asked), *client_pods(observed, asked), *entrances):
            yield _holds(item, pod, observation, observed)


def _gateway_pods(observed: ClusterObservation) -> tuple[Pod, ...]:
    found = (pod for service in gateways.services(observed) for pod in gateways.pods(observed, service))
    return tuple({(pod.namespace, pod.name): pod for pod in found}.values())


def _holds(item: ConfigObject, pod: Pod, observation: Observation, observed: ClusterObservation) -> bool:
    """Whether a policy holds for a pod: its namespace (the root namespace is all), its selector, its targets."""
    if item.namespace not in {pod.namespace, root_namespace(observation, observed)}:
        return False
    targets = [*(item.spec.get("targetRefs") or ()), *filter(None, [item.spec.get("targetRef")])]
    if targets:
        gateway = pod.labels.get("gateway.networking.k8s.io/gateway-name")
        return any(target.get("name") == gateway for target in targets)
    wanted: dict[str, str] = (item.spec.get("selector") or {}).get("matchLabels") or {}
    wanted = wanted or (item.spec.get("workloadSelector") or {}).get("labels") or {}
    return wanted.items() <= pod.labels.items()
