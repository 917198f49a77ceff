"""Causes in where the Services of gateways lead: to ports where nothing listens, to gateways of another kind."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import attempt, few, known_endpoints, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, patch
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Service, ServicePort, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult


@cause(
    "gateway-target-port", Layer.GATEWAYS, "GW-REACHABLE", "GW-DATAPATH", "GW-EXPOSE-SERVICES", "GW-EXPOSE-ISTIOD",
    "CERT-ISTIOD",
)  # fmt: skip
def gateway_target_port(observation: Observation) -> Iterator[Found]:
    """The gateway's Service does not lead a port to where the gateway listens.

    Envoy listens on 15443, and for remotes on 15012 and 15017. The Service lacks one of istiod's ports, as those of a
    chart's defaults do, or the targetPort is another one, where nothing listens: connections are refused.
    """
    among = expectations.gateways(observation.topology)
    for cluster, observed in read(observation, Subject.SERVICES, Subject.PROXIES, among=among):
        for service, port in _needed(observation, cluster, observed):
            at = gateways.announced_port(service) if port == gateways.MESH_PORT else port
            listening = {each.port for proxy in gateways.proxies(observed, service) for each in proxy.listeners}
            entry = next((each for each in service.ports if each.port == at), None)
            tried = _unanswered(observation, cluster, at)
            if port not in listening or not tried or (entry and gateways.listener_port(service, at) in listening):
                continue
            if entry or port != gateways.MESH_PORT:  # a Service without 15443 is a cause of its own
                yield _leads_elsewhere(observed, service, port, entry, tried)


def _needed(observation: Observation, cluster: Cluster, observed: ClusterObservation) -> Iterator[tuple[Service, int]]:
    """The Services by which others need a cluster, each with Envoy's ports that it must lead to."""
    front = gateways.istiod_service(observed, cluster.network)
    for service in gateways.serving(observation.topology, observation, cluster):
        for port in expectations.needed_ports(observation.topology, cluster):
            if port == gateways.MESH_PORT or service == front:
                yield service, port


def _unanswered(observation: Observation, cluster: Cluster, port: int) -> tuple[str, ...]:
    """The attempts from elsewhere that nothing answered at that port."""
    probes = (probe for probe in observation.probes if probe.target == cluster.name and probe.port == port)
    return few(attempt(probe) for probe in probes if probe.result is not ProbeResult.ANSWERED)


def _leads_elsewhere(
    observed: ClusterObservation, service: Service, port: int, entry: ServicePort | None, tried: tuple[str, ...]
) -> Found:
    change: list[dict[str, object]] = [
        {"op": "add", "path": "/spec/ports/-", "value": {"name": f"tls-{port}", "port": port, "targetPort": port}}
    ]
    if entry:
        path = f"/spec/ports/{service.ports.index(entry)}"
        change = [
            {"op": "test", "path": f"{path}/port", "value": entry.port},
            {"op": "replace", "path": f"{path}/targetPort", "value": port},
        ]
    return Found(
        cluster=observed.name,
        object=f"Service {service.namespace}/{service.name}",
        field=f"targetPort of port {entry.port}" if entry else "spec.ports",
        expected=f"{port}, where the gateway listens",
        found=entry.target_port if entry else f"no port {port}",
        repair=patch(observed, f"service/{service.name}", change, namespace=service.namespace),
        change=""
        if entry
        else f"Give Service {service.namespace}/{service.name} the port {port} with targetPort {port}",
        evidence=tried,
    )


@cause("gateway-of-others", Layer.GATEWAYS, "GW-REACHABLE", "GW-DATAPATH", "GW-EXPOSE-SERVICES", "EP-WEIGHTS")
def gateway_of_others(observation: Observation) -> Iterator[Found]:
    """A second Service says that it is the network's gateway, and leads to a gateway that passes nothing through.

    istiod gives clients the address of every Service with the label topology.istio.io/network. An ingress gateway that
    bears the label refuses its share of the connections: they fail or not, as chance has it.
    """
    among = expectations.multi_network_gateways(observation.topology)
    for cluster, observed in read(observation, Subject.SERVICES, Subject.PROXIES, Subject.PODS, among=among):
        found = gateways.services(observed, cluster.network)
        passing = [service for service in found if gateways.lets_through(observed, service)]
        for service in found if passing else ():
            # Of one whose Envoy was not read nothing is known.
            if gateways.network(service) and gateways.proxies(observed, service) and service not in passing:
                yield _of_others(observation, cluster, service, passing[0])


def _of_others(observation: Observation, cluster: Cluster, service: Service, gateway: Service) -> Found:
    observed, name, label = observation[cluster], f"{service.namespace}/{service.name}", gateways.NETWORK_LABEL
    return Found(
        cluster=cluster.name,
        object=f"Service {name}",
        field=f"label {label}",
        expected=f"none: {gateway.namespace}/{gateway.name} is the gateway of {cluster.network}",
        found=gateways.network(service),
        repair=noted(
            kubectl(observed, "-n", service.namespace, f"label service {service.name} {label}-"),
            "or expose the services through its gateway as well",
        ),
        change=f"Take the label {label} from Service {name}, or expose the services through its gateway as well",
        evidence=few(
            (line for address in gateways.addresses(service) for line in _tried_at(observation, address)),
            known_endpoints(observation),
        ),
    )


def _tried_at(observation: Observation, address: str) -> Iterator[str]:
    return (attempt(each) for each in observation.probes if each.address == address)
