"""Causes in policies and settings: what somebody has configured, on purpose or not."""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from harness.judge.diagnose.facts import few, known_endpoints, mesh, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import applied, edit_mesh_config, kubectl, noted, patch, steps
from harness.model import expectations
from harness.model.cluster import ClusterObservation, ConfigObject, ServicePort, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

POLICIES = (
    "AuthorizationPolicy",
    "DestinationRule",
    "EnvoyFilter",
    "PeerAuthentication",
    "RequestAuthentication",
    "ServiceEntry",
    "Sidecar",
    "VirtualService",
)


def _policies(observation: Observation, observed: ClusterObservation) -> dict[str, ConfigObject]:
    """Policies of the sample and the root namespace; routes of gateways left aside."""
    namespaces = {observation.asked.sample_namespace, observation.asked.system_namespace}
    return {
        f"{item.kind} {item.namespace}/{item.name}": item
        for item in observed.config
        if item.kind in POLICIES and item.namespace in namespaces and "mesh" in (item.spec.get("gateways") or ["mesh"])
    }


@cause("policies-differ", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.TRAFFIC)
def policies_differ(observation: Observation) -> Iterator[Found]:
    """A policy stands on one primary and not, or differently, on another.

    Every primary configures its own clusters from its own API server only: the policy holds in one half of the mesh,
    and which half a request meets is chance.
    """
    found = [
        (c, o, _policies(observation, o))
        for c, o in read(observation, Subject.CONFIG, among=observation.topology.primaries)
    ]
    policies_of = {cluster.name: policies for cluster, _, policies in found}
    for name in sorted({name for policies in policies_of.values() for name in policies}):
        having = [(cluster, observed) for cluster, observed, policies in found if name in policies]
        lacking = [cluster.name for cluster, _, policies in found if name not in policies]
        specs = {str(policies[name].spec) for _, _, policies in found if name in policies}
        if not lacking and len(specs) <= 1:
            continue
        cluster, _ = having[0] if lacking else having[-1]
        item, there = policies_of[cluster.name][name], ", ".join(other.name for other, _ in having)
        yield Found(
            cluster=cluster.name,
            object=name,
            field="on every primary",
            expected="the same everywhere",
            found=f"only on {there}" if lacking else f"differs on {cluster.name}",
            repair=_alike(observation, item, having, lacking),
            evidence=few([f"spec: {next(iter(specs))}"]),
        )


def _alike(
    observation: Observation,
    item: ConfigObject,
    having: list[tuple[Cluster, ClusterObservation]],
    lacking: list[str],
) -> str:
    """Take a policy away from the fewer primaries, or make it the same on all."""
    if not lacking:
        first, *others = having
        metadata = {"name": item.name, "namespace": item.namespace}
        spec = _policies(observation, first[1])[f"{item.kind} {item.namespace}/{item.name}"].spec
        same = {"apiVersion": item.api_version, "kind": item.kind, "metadata": metadata, "spec": spec}
        return noted(steps(*(applied(observed, same) for _, observed in others)), f"as on {first[0].name}")
    delete = f"delete {item.kind.lower()} {item.name}"
    remove = steps(*(kubectl(observed, "-n", item.namespace, delete) for _, observed in having))
    return noted(remove, f"or apply it to {', '.join(lacking)} as well")


@cause("mesh-config-differs", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.TRAFFIC, fallback=True)
def mesh_config_differs(observation: Observation) -> Iterator[Found]:
    """Primaries have different mesh configurations.

    Trust domain and mesh id apart, which are causes of their own: outlier detection, locality settings, discovery
    selectors and the like then differ by which control plane serves a workload.
    """
    apart = {"trustDomain", "defaultConfig"}
    configs = [
        (cluster, observed, {key: value for key, value in mesh(observation, observed).items() if key not in apart})
        for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries)
    ]
    for cluster, _, config in configs[1:]:
        first, _, reference = configs[0]
        for key in sorted({*config, *reference}):
            if config.get(key) != reference.get(key):
                yield Found(
                    cluster=cluster.name,
                    object=f"ConfigMap {observation.asked.system_namespace}/istio",
                    field=f"mesh.{key}",
                    expected=f"{reference.get(key, 'none')} (as on {first.name})",
                    found=str(config.get(key, "none")),
                    repair=edit_mesh_config(observation, cluster, f"give {key} the value it has on {first.name}"),
                )


@cause("ports-differ", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.ENDPOINTS)
def ports_differ(observation: Observation) -> Iterator[Found]:
    """Helloworld's Service has other ports on one cluster.

    istiod merges a Service of all clusters under one name. Ports that differ in number or name give endpoints that some
    clients don't see, or see with another protocol.
    """
    reference: tuple[str, list[str]] | None = None
    ports_of: dict[str, tuple[ServicePort, ...]] = {}
    for cluster, observed in read(observation, Subject.SERVICES):
        service = observed.service(observation.asked.sample_namespace, expectations.HELLOWORLD)
        if service is None:
            continue
        ports = sorted(f"{port.name} {port.port} {port.app_protocol}".strip() for port in service.ports)
        first, wanted = reference = reference or (cluster.name, ports)
        ports_of[cluster.name] = service.ports
        if ports != wanted:
            yield Found(
                cluster=cluster.name,
                object=f"Service {service.namespace}/{service.name}",
                field="spec.ports",
                expected=f"{', '.join(wanted)} (as on {first})",
                found=", ".join(ports),
                repair=patch(
                    observed,
                    f"service/{service.name}",
                    {"spec": {"ports": [_port(port) for port in ports_of[first]]}},
                    namespace=service.namespace,
                ),
            )


def _port(port: ServicePort) -> dict[str, object]:
    target = int(port.target_port) if port.target_port.isdigit() else port.target_port
    protocol = {"appProtocol": port.app_protocol} if port.app_protocol else {}
    return {"name": port.name, "port": port.port, "targetPort": target, **protocol}


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A Kubernetes label selector."""
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _matches(str(rule.get("key")), str(rule.get("operator")), rule.get("values") or (), labels)
        for rule in selector.get("matchExpressions") or ()
    )


def _matches(key: str, operator: str, values: Container[str], labels: Mapping[str, str]) -> bool:
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


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
            if namespace and not any(_selects(selector, namespace.labels) for selector in selectors):
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


def _mentions(hosts: object, namespace: str) -> bool:
    """Whether hosts of a setting take helloworld in."""
    names = hosts if isinstance(hosts, list) else [hosts]
    full = f"{expectations.HELLOWORLD}.{namespace}.svc.cluster.local"
    short_names = {
        expectations.HELLOWORLD,
        f"{expectations.HELLOWORLD}.{namespace}",
        f"{expectations.HELLOWORLD}.{namespace}.svc",
        full,
    }
    return any(
        str(name) in short_names or (str(name).startswith("*") and full.endswith(str(name)[1:])) for name in names
    )


@cause("cluster-local", Layer.POLICIES, "TR-REACH", breaks=Layer.ENDPOINTS)
def cluster_local(observation: Observation) -> Iterator[Found]:
    """A setting: helloworld is declared cluster-local.

    meshConfig.serviceSettings with clusterLocal keeps a service's endpoints within each client's own cluster. The mesh
    does what it is told to; requests to this service never leave their cluster.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        for entry in _dicts(mesh(observation, observed).get("serviceSettings")):
            local = (entry.get("settings") or {}).get("clusterLocal")
            if local and _mentions(entry.get("hosts") or [], sample):
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
    sample = observation.asked.sample_namespace
    found = list(read(observation, Subject.CONFIG, among=observation.topology.primaries))
    for cluster, observed in found:
        for item in observed.config:
            hosts = item.spec.get("hosts") or item.spec.get("host") or []
            if (
                item.kind != kind
                or not _mentions(hosts, sample)
                or "mesh" not in (item.spec.get("gateways") or ["mesh"])
            ):
                continue
            alike = [other for other in found if any(_same(item, theirs) for theirs in other[1].config)]
            if len(alike) == len(found):
                yield cluster, observed, item


def _same(one: ConfigObject, other: ConfigObject) -> bool:
    return (one.kind, one.namespace, one.name, one.spec) == (other.kind, other.namespace, other.name, other.spec)


def _policy(cluster: Cluster, observed: ClusterObservation, item: ConfigObject, *values: str) -> Found:
    field, wanted, seen = values
    return Found(
        cluster=cluster.name,
        object=f"{item.kind} {item.namespace}/{item.name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=kubectl(observed, "-n", item.namespace, f"delete {item.kind.lower()} {item.name}"),
    )


@cause("all-local", Layer.POLICIES, "TR-REACH", breaks=Layer.ENDPOINTS)
def all_local(observation: Observation) -> Iterator[Found]:
    """A setting: locality settings keep helloworld's traffic near the client.

    A DestinationRule with localityLbSetting, or with outlierDetection while clusters lie in different zones, prefers
    endpoints of the client's own locality. The mesh does what it is told to; other clusters answer only when the near
    ones fail.
    """
    for cluster, observed, item in _rules(observation, "DestinationRule"):
        policy = item.spec.get("trafficPolicy") or {}
        setting = (policy.get("loadBalancer") or {}).get("localityLbSetting") or {}
        if setting.get("enabled") is False or not (setting or policy.get("outlierDetection")):
            continue
        seen = (
            f"a setting: localityLbSetting {setting}"
            if setting
            else "a setting: outlierDetection, failover by locality"
        )
        yield _policy(cluster, observed, item, "spec.trafficPolicy", "no preference by locality", seen)


def _destination(route: Mapping[str, Any]) -> str:
    destination = route.get("destination") or {}
    return str(destination.get("subset") or destination.get("host"))


@cause("shares-skewed", Layer.POLICIES, "TR-DISTRIBUTION", breaks=Layer.TRAFFIC)
def shares_skewed(observation: Observation) -> Iterator[Found]:
    """A setting: a VirtualService decides how helloworld's traffic is shared out.

    Weights of routes come before the weights of endpoints: the shares are then what it says, not what the number of
    pods would give.
    """
    for cluster, observed, item in _rules(observation, "VirtualService"):
        shares = [
            f"{_destination(route)} {route['weight']}"
            for kind in ("http", "tcp", "tls")
            for rule in item.spec.get(kind) or ()
            for route in rule.get("route") or ()
            if "weight" in route
        ]
        if shares:
            yield _policy(
                cluster,
                observed,
                item,
                "spec.http.route.weight",
                "shares by endpoints",
                f"a setting: {', '.join(shares)}",
            )


@cause("plaintext-accepted", Layer.POLICIES, "MTLS-STRICT", breaks=None)
def plaintext_accepted(observation: Observation) -> Iterator[Found]:
    """A policy lets a workload accept plaintext although the mesh is meant to be STRICT.

    A PeerAuthentication for one workload, or one port, comes before that of its namespace.
    """
    for cluster, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in observed.config:
            if item.kind != "PeerAuthentication":
                continue
            modes = {(item.spec.get("mtls") or {}).get("mode")}
            modes |= {(port or {}).get("mode") for port in (item.spec.get("portLevelMtls") or {}).values()}
            loose = sorted(str(mode) for mode in modes & {"PERMISSIVE", "DISABLE"})
            if loose and (item.spec.get("selector") or "DISABLE" in loose):
                yield _policy(cluster, observed, item, "spec.mtls.mode", "STRICT", ", ".join(loose))
