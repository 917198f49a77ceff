"""Causes in how a gateway is found: its Service's ports and selector, and its namespace."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.judge.diagnose.facts import attempt, few, known_endpoints, mesh, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, patch
from harness.model import expectations, gateways
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Pod, Service, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult

HBONE_PORT = 15008
"""Where a gateway of ambient meshes listens; istiod takes a Service with it for a gateway, too."""


def _found(observation: Observation, *subjects: Subject) -> Iterator[tuple[Cluster, ClusterObservation, Service]]:
    """The gateways for services, one by one."""
    among = expectations.multi_network_gateways(observation.topology)
    for cluster, observed in read(observation, Subject.SERVICES, *subjects, among=among):
        for service in gateways.services(observed, cluster.network):
            yield cluster, observed, service


def words(labels: Mapping[str, str]) -> str:
    """Labels as kubectl takes them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


@cause("gateway-port-moved", Layer.GATEWAYS, "GW-REACHABLE", "GW-DATAPATH", "EP-COMPLETE", plane=DataPlane.SIDECAR)
def gateway_port_moved(observation: Observation) -> Iterator[Found]:
    """The gateway's Service does not listen on the port that istiod announces.

    istiod gives clients the port in the Service's label networking.istio.io/gatewayPort, and 15443 without it. If the
    Service listens on another port, istiod passes it over or sends clients to a port where nothing answers.
    """
    for cluster, observed, service in _found(observation):
        port = gateways.announced_port(service)
        if gateways.has_port(service, port) or gateways.has_port(service, HBONE_PORT):
            continue
        moved = next((each.port for each in service.ports if each.target_port == str(expectations.MESH_PORT)), 0)
        if moved:
            label = f"{gateways.PORT_LABEL}={moved}"
            expected = f"{port}, which istiod announces, or the label {label}"
            repair = kubectl(observed, "-n", service.namespace, f"label service {service.name} {label} --overwrite")
        else:
            expected = f"{port}, which istiod announces"
            added = {"name": f"tls-{port}", "port": port, "targetPort": port}
            change = [{"op": "add", "path": "/spec/ports/-", "value": added}]
            repair = patch(observed, f"service/{service.name}", change, namespace=service.namespace)
        yield Found(
            cluster=cluster.name,
            object=f"Service {service.namespace}/{service.name}",
            field="spec.ports",
            expected=expected,
            found=", ".join(f"{each.port} → {each.target_port}" for each in service.ports) or "none",
            repair=repair,
            evidence=few(known_endpoints(observation)),
        )


@cause("gateway-selects-others", Layer.GATEWAYS, "GW-AVAILABLE", "GW-EXPOSE-SERVICES", "GW-REACHABLE", "GW-DATAPATH")
def gateway_selects_others(observation: Observation) -> Iterator[Found]:
    """The Service that is known as a network's gateway does not lead to a gateway.

    Clients on other networks are given its address. Its selector leads to pods without a proxy, or to none at all: what
    answers there, if anything does, ends TLS itself and knows no service of the mesh.
    """
    for cluster, observed, service in _found(observation, Subject.PODS, Subject.WORKLOADS):
        chosen = gateways.selected(observed, service)
        if not service.selector or gateways.pods(observed, service):
            continue
        workload = gateways.workload(observed, service)
        of_selector = workload and service.selector.items() <= (workload.pod_labels or workload.labels).items()
        if not chosen and (workload is None or of_selector) and not _others_serve(observed, cluster, service):
            continue  # the gateway itself is missing or scaled to 0
        pods = ", ".join(pod.name for pod in chosen) or "no pod"
        yield Found(
            cluster=cluster.name,
            object=f"Service {service.namespace}/{service.name}",
            field="spec.selector",
            expected=f"the gateway's pods ({_gateway_labels(observed) or 'with a proxy'})",
            found=f"{words(service.selector)}: {pods}",
            repair=noted(
                kubectl(observed, "-n", service.namespace, f"get pods -l {words(service.selector)} --show-labels"),
                f"let the selector of service {service.name} name the gateway's pods, or take its label "
                f"{gateways.NETWORK_LABEL} away",
            ),
            evidence=few(_shown(observation, cluster), known_endpoints(observation)),
        )


def _others_serve(observed: ClusterObservation, cluster: Cluster, service: Service) -> bool:
    """Whether another Service of the network leads to a gateway."""
    others = (other for other in gateways.services(observed, cluster.network) if other != service)
    return any(gateways.pods(observed, other) for other in others)


def _gateway_labels(observed: ClusterObservation) -> str:
    """The labels by which pods that pass services through can be selected."""
    passing = {
        (proxy.namespace, proxy.pod)
        for proxy in observed.proxies
        if any(gateways.passes_through(chain) for listener in proxy.listeners for chain in listener.chains)
    }
    pods = (pod for pod in observed.pods if (pod.namespace, pod.name) in passing)
    return next((words(_telling(pod)) for pod in pods), "")


def _telling(pod: Pod) -> dict[str, str]:
    return {key: value for key, value in pod.labels.items() if key in {"istio", "app"}}


def _foreign(observation: Observation) -> Iterator[tuple[Cluster, Probe, Certificate]]:
    """The gateways' answers with a certificate that is no workload's of any mesh, with its leaf."""
    for cluster in expectations.multi_network_gateways(observation.topology):
        entrances = gateways.entrances(observation.topology, observation, cluster)
        places = {(entrance.address, entrance.port) for entrance in entrances}
        for probe in observation.probes:
            if probe.kind is not ProbeKind.TLS or probe.target != cluster.name or not probe.certificates:
                continue
            of_workload = any(uri.startswith("spiffe://") for uri in probe.certificates[0].uris)
            if (probe.address, probe.port) in places and probe.result is ProbeResult.ANSWERED and not of_workload:
                yield cluster, probe, probe.certificates[0]


def _whose(leaf: Certificate) -> str:
    names = ", ".join(leaf.dns_names) or leaf.subject
    return f"the certificate of {names}, issued by {leaf.issuer}"


def _shown(observation: Observation, cluster: Cluster) -> Iterator[str]:
    for at, probe, leaf in _foreign(observation):
        if at == cluster:
            yield f"{probe.address}:{probe.port} shows {probe.source} {_whose(leaf)}"
    for probe in observation.probes:
        if probe.kind is ProbeKind.TLS and probe.target == cluster.name and probe.result is not ProbeResult.ANSWERED:
            yield attempt(probe)


@cause("gateway-tls-ended", Layer.GATEWAYS, "GW-DATAPATH", effect=True, plane=DataPlane.SIDECAR)
def gateway_tls_ended(observation: Observation) -> Iterator[Found]:
    """Something before the gateway ends TLS.

    Between networks mutual TLS goes from proxy to proxy, and the gateway passes it on by its SNI. What answers shows a
    certificate that is not the mesh's: a load balancer with a TLS or HTTPS listener, or another server at that address.
    """
    seen: set[str] = set()
    for cluster, probe, leaf in _foreign(observation):
        if cluster.name in seen:
            continue
        seen.add(cluster.name)
        observed = observation[cluster]
        service = next(iter(gateways.services(observed, cluster.network)), None)
        name = f"Service {service.namespace}/{service.name}" if service else f"gateway of {cluster.network}"
        look = f"get service {service.name} -o yaml" if service else "get services -A"
        namespace = service.namespace if service else observation.asked.system_namespace
        yield Found(
            cluster=cluster.name,
            object=f"{name} port {probe.port}",
            field=f"certificate at {probe.address}:{probe.port} for SNI {probe.server_name}",
            expected="helloworld's, of the mesh",
            found=_whose(leaf),
            repair=noted(
                kubectl(observed, "-n", namespace, look),
                f"let its load balancer pass TCP {probe.port} through, without a certificate of its own",
            ),
            evidence=few(_shown(observation, cluster)),
        )


@cause("gateway-left-out", Layer.GATEWAYS, "GW-EXPOSE-SERVICES", "GW-REACHABLE", "GW-DATAPATH", "EP-COMPLETE")
def gateway_left_out(observation: Observation) -> Iterator[Found]:
    """The gateway's namespace is left out by discoverySelectors.

    With meshConfig.discoverySelectors istiod looks at selected namespaces only. The gateway's Service, its pods and the
    Gateway objects of a namespace that is left out do not exist for it: it configures nothing at the gateway, and gives
    no client its address.
    """
    said = set[tuple[str, str]]()
    for cluster, observed, service in _found(observation, Subject.NAMESPACES):
        namespace = observed.namespace(service.namespace)
        for primary in observation.topology.primaries:
            selectors = mesh(observation, observation[primary]).get("discoverySelectors")
            if not isinstance(selectors, list) or not selectors or namespace is None:
                continue
            if (cluster.name, namespace.name) in said or any(_selects(each, namespace.labels) for each in selectors):
                continue
            said.add((cluster.name, namespace.name))
            chosen = json.dumps(selectors, separators=(",", ":"))
            yield Found(
                cluster=cluster.name,
                object=f"Namespace {namespace.name}",
                field="labels",
                expected=f"selected by meshConfig.discoverySelectors of {primary.name}: {chosen}",
                found=words(namespace.labels) or "none",
                repair=noted(
                    kubectl(observed, f"get namespace {namespace.name} --show-labels"),
                    f"add a selector for {namespace.name} to discoverySelectors of every control plane, or label the "
                    "namespace as they ask, without having pods injected there",
                ),
                evidence=few(known_endpoints(observation)),
            )


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a Kubernetes label selector selects labels."""
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(rule, labels) for rule in selector.get("matchExpressions") or ()
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = rule.get("key"), rule.get("values") or ()
    found = labels.get(str(key))
    holds = {
        "In": found in values,
        "NotIn": found not in values,
        "Exists": found is not None,
        "DoesNotExist": found is None,
    }
    return holds.get(str(rule.get("operator")), False)
