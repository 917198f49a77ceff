"""Causes in what else decides about a service: its Service's form, ServiceEntries, Sidecars, EnvoyFilters."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.judge.diagnose.facts import few, known_endpoints, read, requests_logged
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.policies import shown
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import clients, expectations, policies, requested
from harness.model.cluster import ClusterObservation, ConfigObject, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Asked, Observation
from harness.model.topology import Cluster

_TRAFFIC = ("TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES", "TR-DISTRIBUTION")
_ENDPOINTS = ("EP-COMPLETE", "EP-WEIGHTS")


@cause("service-headless", Layer.POLICIES, *_ENDPOINTS, *_TRAFFIC, breaks=Layer.ENDPOINTS)
def service_headless(observation: Observation) -> Iterator[Found]:
    """Helloworld's Service has no address of its own on one cluster.

    A headless Service (clusterIP None) is not balanced: a client's proxy passes its connections on to the address that
    its DNS gave it, which is a pod of its own cluster. An ExternalName leads to another name altogether. Endpoints of
    other clusters and networks are then not used.
    """
    for cluster, observed in read(observation, Subject.SERVICES):
        service = requested.found(observed, observation.asked)
        if service is None or (service.cluster_ip != "None" and service.type != "ExternalName"):
            continue
        field = "spec.type" if service.type == "ExternalName" else "spec.clusterIP"
        yield Found(
            cluster=cluster.name,
            object=f"Service {service.namespace}/{service.name}",
            field=field,
            expected="an address of its own: requests are then balanced over all clusters",
            found=service.type if field == "spec.type" else "None: headless",
            repair=noted(
                kubectl(observed, "-n", service.namespace, f"get service {service.name} -o yaml"),
                "clusterIP can't be changed: make a second Service that has an address, and let clients use that",
            ),
            change=f"Give {service.namespace}/{service.name} an address on {cluster.name} as well",
            evidence=few(known_endpoints(observation)),
        )


@cause("service-empty", Layer.WORKLOADS, *_ENDPOINTS, "GW-DATAPATH", *_TRAFFIC, breaks=Layer.ENDPOINTS)
def service_empty(observation: Observation) -> Iterator[Found]:
    """Helloworld's Service selects none of its pods.

    Its pods are ready, and none of them is behind the Service: the selector names labels that they do not have, or the
    target port is a name that they do not know. istiod has no endpoint of helloworld on that cluster.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.SERVICES, Subject.PODS):
        if observation.asked.service:
            continue  # which pods it is meant to select is not known
        service = observed.service(sample, expectations.HELLOWORLD)
        pods = [pod for pod in expectations.helloworld_pods(observed, sample) if pod.ready]
        if service is None or not pods or service.ready_endpoints or not service.selector:
            continue
        chosen = [pod for pod in pods if service.selector.items() <= pod.labels.items()]
        ports = ", ".join(f"{port.port} → {port.target_port}" for port in service.ports)
        selector = ",".join(f"{key}={value}" for key, value in service.selector.items())
        if chosen and not any(not port.target_port.isdecimal() for port in service.ports):
            continue
        yield Found(
            cluster=cluster.name,
            object=f"Service {sample}/{service.name}",
            field="spec.ports.targetPort" if chosen else "spec.selector",
            expected=f"the pods of helloworld ({pods[0].name})",
            found=f"{ports}: no endpoint" if chosen else f"{selector}: no pod",
            repair=noted(
                kubectl(observed, "-n", sample, f"get service {service.name} -o yaml"),
                "compare its selector and target port with the pods",
            ),
            evidence=few(known_endpoints(observation)),
        )


@cause(
    "service-entry", Layer.POLICIES, "CONFIG-CONSISTENT", *_ENDPOINTS, *_TRAFFIC, "GW-DATAPATH", breaks=Layer.ENDPOINTS
)
def service_entry(observation: Observation) -> Iterator[Found]:
    """A ServiceEntry names the host of helloworld's Service.

    istiod merges its endpoints with those of the Service, or takes it in the Service's place where it is visible and
    the Service is not: clients get addresses that are no pods of the mesh, or another protocol or resolution. A service
    of the mesh needs no ServiceEntry: istiod knows it by its remote secrets.
    """
    sample = observation.asked.sample_namespace
    for primary, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in observed.config:
            hosts = item.spec.get("hosts") or []
            private = item.spec.get("exportTo") == ["."] and item.namespace != sample
            meant = policies.mentions(observation.asked, hosts, item.namespace)
            if item.kind == "ServiceEntry" and not private and meant:
                seen = f"{', '.join(map(str, hosts))}, resolution {item.spec.get('resolution') or 'NONE'}"
                told = known_endpoints(observation)
                yield shown(primary.name, observed, item, "spec.hosts", "no host of a Service", seen, *told)


@cause("sidecar-scope", Layer.POLICIES, *_ENDPOINTS, *_TRAFFIC, breaks=Layer.ENDPOINTS, plane=DataPlane.SIDECAR)
def sidecar_scope(observation: Observation) -> Iterator[Found]:
    """A Sidecar leaves helloworld out of what its clients know.

    Its egress hosts do not take the sample's services in: the proxies that it holds for have neither route nor
    endpoints of helloworld.
    """
    said: set[str] = set()
    for client, observed in read(observation, Subject.PODS):
        primary = observation.topology[client.primary]
        item = _sidecar_of(observation, client, observation[primary])
        if item is None or _takes_in(item, observation.asked):
            continue
        if (name := f"{primary.name} {item.namespace}/{item.name}") not in said:
            said.add(name)
            hosts = [str(host) for entry in item.spec.get("egress") or () for host in entry.get("hosts") or ()]
            wanted = f"{observation.asked.sample_namespace}/* among them"
            told = few([f"holds for the client on {observed.name}"], known_endpoints(observation))
            source = observation[primary]
            yield shown(primary.name, source, item, "spec.egress.hosts", wanted, ", ".join(hosts), *told)


def _sidecar_of(observation: Observation, client: Cluster, primary: ClusterObservation) -> ConfigObject | None:
    """The Sidecar that holds for a client: one that selects it, else that of its namespace, else of the root's."""
    pods = clients.client_pods(observation[client], observation.asked)
    held = [
        item
        for item in primary.config
        if item.kind == "Sidecar" and policies.holds_for(observation, observation[client], item, pods)
    ]
    own = [item for item in held if item.namespace == _clients_namespace(observation.asked)]
    own.sort(key=lambda item: not item.spec.get("workloadSelector"))
    return next(iter((*own, *held)), None)


def _clients_namespace(asked: Asked) -> str:
    return asked.client.namespace if asked.client else asked.sample_namespace


def _takes_in(item: ConfigObject, asked: Asked) -> bool:
    """Whether a Sidecar that holds for the clients takes helloworld in, or the user's service.

    A dot is the clients' namespace, also in a Sidecar of the root namespace: istiod works out its scope for each
    namespace that it holds for. Source: Istio, pilot/pkg/model/sidecar.go, ConvertToSidecarScope.
    """
    sample = requested.service(asked).namespace
    egress: list[Mapping[str, Any]] = item.spec.get("egress") or []
    for entry in egress:
        for host in entry.get("hosts") or ():
            namespace, _, name = str(host).rpartition("/")
            inside = namespace in {"", "*", sample} or (namespace == "." and _clients_namespace(asked) == sample)
            if inside and (name == "*" or policies.mentions(asked, [name], item.namespace)):
                return True
    return not egress


@cause(
    "envoy-filter", Layer.POLICIES, "GW-DATAPATH", "GW-REACHABLE", "GW-HARDENED", "MTLS-PEER", *_TRAFFIC,
    breaks=None, fallback=True,
)  # fmt: skip
def envoy_filter(observation: Observation) -> Iterator[Found]:
    """An EnvoyFilter changes the proxies concerned, and nothing else explains what fails.

    An EnvoyFilter may do anything to a proxy, and istiod does not check whether that still fits a mesh of several
    clusters. Try without it first.
    """
    for primary, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in observed.config:
            if item.kind == "EnvoyFilter" and policies.holds_anywhere(observation, item):
                patches = item.spec.get("configPatches") or []
                seen = ", ".join(dict.fromkeys(str(patch.get("applyTo")) for patch in patches)) or "no patch"
                told = requests_logged(observation)
                yield shown(primary.name, observed, item, "spec.configPatches", "none that hurts", seen, *told)
