"""Causes that are settings: the mesh does what somebody told it to, and keeps traffic from other clusters."""

from collections.abc import Iterator
from typing import Any

from harness.judge.diagnose.facts import few, known_endpoints, mesh, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.policies import shown
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import edit_mesh_config, kubectl, noted
from harness.judge.diagnose.routes import undefined_subsets
from harness.model import balancing, expectations, policies, requested
from harness.model.cluster import ClusterObservation, ConfigObject, Subject
from harness.model.label_selector import selects
from harness.model.observation import Observation
from harness.model.topology import Cluster


@cause("not-discovered", Layer.POLICIES, "EP-COMPLETE", breaks=Layer.WORKLOADS)
def not_discovered(observation: Observation) -> Iterator[Found]:
    """The control plane is told to overlook the sample namespace of a cluster.

    meshConfig.discoverySelectors limits what istiod watches, in every cluster, to namespaces with these labels. What
    stands in others has no endpoints, and istiod hands out no root certificate there.
    """
    sample = observation.asked.sample_namespace
    for primary, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        selectors = mesh(observation, observed).get("discoverySelectors")
        if not isinstance(selectors, list) or not selectors:
            continue
        for cluster, watched in read(observation, Subject.NAMESPACES):
            namespace = watched.namespace(sample)
            if namespace and not any(selects(selector, namespace.labels) for selector in selectors):
                labels = selectors[0].get("matchLabels") or {}
                label = " ".join(f"{key}={value}" for key, value in labels.items())
                yield Found(
                    cluster=cluster.name,
                    object=f"Namespace {sample}",
                    field=f"labels, by meshConfig.discoverySelectors of {primary.name}",
                    expected=str(selectors),
                    found=", ".join(f"{key}={value}" for key, value in sorted(namespace.labels.items())) or "none",
                    repair=kubectl(watched, f"label namespace {sample} {label} --overwrite")
                    if label
                    else edit_mesh_config(observation, primary, f"let discoverySelectors select {sample}"),
                    evidence=few(known_endpoints(observation)),
                )


@cause("cluster-local", Layer.POLICIES, "TR-REACH", breaks=Layer.ENDPOINTS)
def cluster_local(observation: Observation) -> Iterator[Found]:
    """A setting: helloworld is declared cluster-local.

    meshConfig.serviceSettings with clusterLocal keeps a service's endpoints within each client's own cluster. The mesh
    does what it is told to; requests to this service never leave their cluster.
    """
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        for entry in _dicts(mesh(observation, observed).get("serviceSettings")):
            local = (entry.get("settings") or {}).get("clusterLocal")
            domains = (expectations.cluster_domain(observed),)
            if local and policies.mentions(observation.asked, entry.get("hosts") or [], domains=domains):
                yield Found(
                    cluster=cluster.name,
                    object=f"ConfigMap {observation.asked.system_namespace}/istio",
                    field="mesh.serviceSettings",
                    expected="helloworld not cluster-local",
                    found=f"a setting: clusterLocal for {', '.join(map(str, entry.get('hosts') or []))}",
                    repair=edit_mesh_config(observation, cluster, "take the entry out of serviceSettings"),
                    evidence=few(known_endpoints(observation)),
                )


def _dicts(found: object) -> Iterator[dict[str, Any]]:
    yield from (entry for entry in (found if isinstance(found, list) else []) if isinstance(entry, dict))


def _rules(observation: Observation, kind: str) -> Iterator[tuple[Cluster, ClusterObservation, ConfigObject]]:
    """Objects of a kind about helloworld, that stand alike on all primaries: what differs is a cause of its own."""
    found = list(read(observation, Subject.CONFIG, among=observation.topology.primaries))
    for cluster, observed in found:
        for item in observed.config:
            if item.kind != kind or not policies.is_about_requested(observation, item):
                continue
            alike = [other for other in found if any(_same(item, theirs) for theirs in other[1].config)]
            if len(alike) == len(found):
                yield cluster, observed, item


def _installed(observation: Observation) -> bool:
    return observation.asked.mode == "install"


def _same(one: ConfigObject, other: ConfigObject) -> bool:
    return (one.kind, one.namespace, one.name, one.spec) == (other.kind, other.namespace, other.name, other.spec)


@cause("all-local", Layer.POLICIES, "TR-REACH", breaks=Layer.ENDPOINTS)
def all_local(observation: Observation) -> Iterator[Found]:
    """A setting: locality settings keep helloworld's traffic near the client.

    A DestinationRule with localityLbSetting, or with outlierDetection while clusters lie in different zones, prefers
    endpoints of the client's own locality. The mesh does what it is told to; other clusters answer only when the near
    ones fail. On a mesh of others a preference is what is meant, and explains nothing: only what sends all requests to
    named localities does.
    """
    for cluster, observed, item in _rules(observation, "DestinationRule"):
        said = balancing.near_setting(item.spec.get("trafficPolicy") or {})
        if said and (_installed(observation) or "distribute" in said):
            yield shown(
                cluster.name, observed, item, "spec.trafficPolicy", "no preference by locality", f"a setting: {said}"
            )


@cause("mesh-locality", Layer.POLICIES, "EP-COMPLETE", "TR-REACH", breaks=Layer.ENDPOINTS)
def mesh_locality(observation: Observation) -> Iterator[Found]:
    """A setting: the mesh configuration spreads traffic by locality.

    localityLbSetting.distribute names the localities that get requests from a place: endpoints in others are left out
    of the proxies. zoneAwareLbSetting prefers the client's own zone. The mesh does what it is told to.
    """
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        if said := balancing.mesh_wide(mesh(observation, observed)):
            yield Found(
                cluster=cluster.name,
                object=f"ConfigMap {observation.asked.system_namespace}/istio",
                field=f"mesh.{said.partition(' ')[0]}",
                expected="traffic to every cluster",
                found=f"a setting: {said}",
                repair=edit_mesh_config(observation, cluster, "give the other clusters' localities a share"),
                evidence=few(known_endpoints(observation)),
            )


@cause(
    "auto-mtls-off", Layer.POLICIES, "EP-COMPLETE", "TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES", breaks=Layer.ENDPOINTS
)
def auto_mtls_off(observation: Observation) -> Iterator[Found]:
    """Clients use no mutual TLS of their own accord, and no DestinationRule tells them to.

    With meshConfig.enableAutoMtls false a client sends plaintext unless a DestinationRule says ISTIO_MUTUAL. A gateway
    between networks finds no SNI in it and resets the connection; a PeerAuthentication STRICT refuses it. Source:
    Istio, "Global Mesh Options", enableAutoMtls.
    """
    if len(observation.topology.networks) < 2:  # noqa: PLR2004 - several networks: only a gateway needs the SNI
        return
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        if mesh(observation, observed).get("enableAutoMtls") is not False or _mutual_by_rule(observation, observed):
            continue
        yield Found(
            cluster=cluster.name,
            object=f"ConfigMap {observation.asked.system_namespace}/istio",
            field="mesh.enableAutoMtls",
            expected="true, or a DestinationRule for helloworld with tls.mode ISTIO_MUTUAL",
            found="false",
            repair=edit_mesh_config(observation, cluster, "take enableAutoMtls out"),
            evidence=few(known_endpoints(observation)),
        )


def _mutual_by_rule(observation: Observation, observed: ClusterObservation) -> bool:
    """Whether a DestinationRule demands mutual TLS of helloworld's clients."""
    rules = (item for item in observed.config if item.kind == "DestinationRule")
    return any("ISTIO_MUTUAL" in str(item.spec) for item in rules if policies.is_about_requested(observation, item))


@cause("service-near", Layer.POLICIES, "EP-COMPLETE", "TR-REACH", breaks=Layer.ENDPOINTS)
def service_near(observation: Observation) -> Iterator[Found]:
    """A setting: helloworld's Service keeps traffic near the client.

    trafficDistribution prefers endpoints of the client's zone or node, and of its own network before others;
    internalTrafficPolicy Local leaves only those of its node. The mesh does what it is told to. On a mesh of others the
    first is a preference, which explains nothing.
    """
    for cluster, observed in read(observation, Subject.SERVICES):
        service = requested.found(observed, observation.asked)
        if service is None:
            continue
        for field, value in (
            ("spec.trafficDistribution", service.traffic_distribution),
            ("spec.internalTrafficPolicy", service.internal_traffic_policy.replace("Cluster", "")),
        ):
            if value and (_installed(observation) or field == "spec.internalTrafficPolicy"):
                look = kubectl(observed, "-n", service.namespace, f"get service {service.name} -o yaml")
                yield Found(
                    cluster=cluster.name,
                    object=f"Service {service.namespace}/{service.name}",
                    field=field,
                    expected="no preference for near endpoints",
                    found=f"a setting: {value}",
                    repair=noted(look, f"change {field} if that is not meant"),
                    evidence=few(known_endpoints(observation)),
                )


@cause("shares-skewed", Layer.POLICIES, "TR-DISTRIBUTION", breaks=Layer.TRAFFIC)
def shares_skewed(observation: Observation) -> Iterator[Found]:
    """A setting: a VirtualService, or a route of the Gateway API, decides how helloworld's traffic is shared out.

    Weights of routes come before the weights of endpoints: the shares are then what it says, not what the number of
    pods would give.
    """
    for kind in balancing.ROUTING:
        field = "spec.http.route.weight" if kind == "VirtualService" else "spec.rules.backendRefs.weight"
        for cluster, observed, item in _rules(observation, kind):
            # Weights of subsets that are not there share nothing out.
            if (shares := balancing.route_weights(item)) and not undefined_subsets(observation, item):
                seen = f"a setting: {', '.join(shares)}"
                yield shown(cluster.name, observed, item, field, "shares by endpoints", seen)
