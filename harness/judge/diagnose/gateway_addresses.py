"""Causes in the addresses and the reach of east-west gateways: load balancers, network labels, filtered ports."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import (
    events,
    few,
    known_endpoints,
    logged_elsewhere,
    network_label,
    read,
    requests_logged,
    silent,
)
from harness.judge.diagnose.gateways import install, named
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, patch
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Service, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.step import Outcome, Phase
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult

CLOUD_PROVIDER_KIND = "cloud-provider-kind"
_SIDECAR = DataPlane.SIDECAR


@cause("gateway-no-address", Layer.GATEWAYS, "GW-ADDRESS")
def gateway_no_address(observation: Observation) -> Iterator[Found]:
    """The east-west gateway has no address outside of its cluster.

    Its Service stays <pending>: no load balancer controller serves this cluster, its address pool is used up, or the
    Service is of another type. istiod then does not know how other networks reach this one. cloud-provider-kind that
    ran on while a cluster was deleted and created again under the same name keeps its old API client: restart it.
    """
    for cluster, observed in read(observation, Subject.SERVICES, among=expectations.gateways(observation.topology)):
        service = expectations.gateway_service(observed)
        mesh, known = expectations.mesh_port(observation.asked), service and gateways.addresses(service)
        if known or gateways.entrances(observation.topology, observation, cluster, mesh):
            continue
        if observation.asked.ambient and not observed.api_gateways:
            continue  # istiod makes the Service of a Gateway, and that is what is missing
        if service is None:
            found, repair = "no such Service", install(observation, cluster)
        else:
            found, repair = _without_address(observation, observed, service)
        yield Found(
            cluster=cluster.name,
            object=named(observation, observed, "Service"),
            field="status.loadBalancer.ingress",
            expected="an IP address or a host name",
            found=found,
            repair=repair,
            evidence=few(
                events(observed, f"Service/{expectations.GATEWAY}"),
                _balancer_steps(observation),
                (f"log {observation.asked.load_balancer}: {line}" for line in observation.load_balancer_log),
                logged_elsewhere(observation, observed),
            ),
        )


def _without_address(observation: Observation, observed: ClusterObservation, service: Service) -> tuple[str, str]:
    """What a Service has in an address's place, and the repair."""
    look = kubectl(observed, "-n", service.namespace, f"describe service {service.name}")
    if service.type == "NodePort":
        return "none: a NodePort without nodes that istiod may give to clients", noted(
            look,
            "annotate it with traffic.istio.io/nodeSelector for nodes that have an ExternalIP, or have it balanced",
        )
    if service.type != "LoadBalancer":
        change = {"spec": {"type": "LoadBalancer"}}
        repair = patch(observed, f"service/{service.name}", change, namespace=service.namespace)
        return f"none: the Service's type is {service.type}", repair
    if observation.asked.load_balancer == CLOUD_PROVIDER_KIND:
        return "none (<pending>)", noted(
            f"pkill -x {CLOUD_PROVIDER_KIND}; {CLOUD_PROVIDER_KIND} &",
            f"restart {CLOUD_PROVIDER_KIND}: it keeps its API client of a cluster that was created again",
        )
    return "none (<pending>)", noted(
        look, f"give its load balancer's controller addresses; on kind restart {CLOUD_PROVIDER_KIND}"
    )


def _balancer_steps(observation: Observation) -> Iterator[str]:
    """Whether the load balancer runs since before the clusters were there: then it may know other ones."""
    for step in observation.steps:
        if step.phase is Phase.LOAD_BALANCER and step.outcome is Outcome.SKIPPED:
            yield f"{step.title}: {step.detail}"


@cause(
    "gateway-unlabelled", Layer.GATEWAYS, "EP-COMPLETE", "GW-ADDRESS", breaks=Layer.ENDPOINTS, plane=DataPlane.SIDECAR
)
def gateway_unlabelled(observation: Observation) -> Iterator[Found]:
    """The gateway's Service does not say whose network's gateway it is.

    istiod finds the gateway of a network by the label topology.istio.io/network on its Service. Without it the network
    has no gateway that istiod knows, and clients elsewhere are given its pods' own addresses, which they can't reach.
    Where meshNetworks name the gateway the label is not needed.
    """
    for cluster, observed in read(
        observation, Subject.SERVICES, among=expectations.multi_network_gateways(observation.topology)
    ):
        service = expectations.gateway_service(observed)
        label = service.labels.get(expectations.NETWORK_LABEL) if service else None
        # A gateway that says the same wrong network as its namespace follows from that.
        if service is None or label == cluster.network or (label and label == network_label(observation, observed)):
            continue
        if not label and gateways.named_by_networks(observation.topology, observation, cluster):
            continue
        yield Found(
            cluster=cluster.name,
            object=named(observation, observed, "Service"),
            field=f"label {expectations.NETWORK_LABEL}",
            expected=cluster.network,
            found=label or "none",
            repair=kubectl(
                observed,
                "-n",
                service.namespace,
                f"label service {service.name} {expectations.NETWORK_LABEL}={cluster.network or 'NETWORK'} --overwrite",
            ),
            evidence=few(known_endpoints(observation)),
        )


@cause("gateway-filtered", Layer.GATEWAYS, "GW-REACHABLE", effect=True)
def gateway_filtered(observation: Observation) -> Iterator[Found]:
    """A port of the gateway can't be reached from another cluster.

    The gateway is up and has an address, yet a pod elsewhere gets no answer: a firewall, a security group, a network
    policy or a load balancer that does not pass this port. 15443 carries services, 15008 those of a mesh of ztunnels,
    15012 configuration and certificates, 15017 injection.
    """
    for (target, port), probes in silent(observation, ProbeKind.TCP, lambda probe: (probe.target, probe.port)).items():
        if port not in _needed(observation, observation.topology[target]):
            continue
        observed, first = observation[target], probes[0]
        open_ports = sorted(
            {
                str(probe.port)
                for probe in observation.probes
                if (probe.kind, probe.target, probe.result) == (ProbeKind.TCP, target, ProbeResult.ANSWERED)
            }
        )
        behind = (each for each in observed.services if first.address in gateways.addresses(each))
        name = next(
            (f"Service {each.namespace}/{each.name}" for each in behind), named(observation, observed, "Service")
        )
        tried = (f"{p.source} {p.source_pod} → {p.address}:{p.port}: {p.result} {p.detail}" for p in probes)
        yield Found(
            cluster=target,
            object=f"{name} port {port}",
            field=f"reachable at {first.address}:{port} from {', '.join(dict.fromkeys(p.source for p in probes))}",
            expected="answers",
            found=f"{first.result} {first.detail}".strip(),
            repair=_open(observation, first),
            change=f"Let TCP {port} to {first.address} pass from {', '.join(dict.fromkeys(p.source for p in probes))}: "
            f"in the firewall, the NetworkPolicies, and the load balancer of {name}",
            evidence=few(
                tried,
                [f"other ports answer: {', '.join(open_ports)}" if open_ports else ""],
                requests_logged(observation, f"{first.address}:{port}"),
            ),
        )


def _needed(observation: Observation, target: Cluster) -> set[int]:
    """The ports at which clients reach what they need of a cluster's gateways."""
    topology = observation.topology
    ports = expectations.needed_ports(topology, target, expectations.mesh_port(observation.asked))
    return {found.port for port in ports for found in gateways.entrances(topology, observation, target, port)}


def _open(observation: Observation, probe: Probe) -> str:
    """Add a port that the Service lacks; else a way to try it again while something between is changed."""
    service, asked = expectations.gateway_service(observation[probe.target]), observation.asked
    if service and probe.port not in {port.port for port in service.ports}:
        port = {"name": f"tls-{probe.port}", "port": probe.port, "targetPort": probe.port}
        add = [{"op": "add", "path": "/spec/ports/-", "value": port}]
        return patch(observation[probe.target], f"service/{service.name}", add, namespace=service.namespace)
    address = expectations.url_host(probe.address)
    # What the proxy's own user sends does not go through the proxy, which takes every connection.
    attempt = f"exec deploy/sleep -c {expectations.PROXY} -- curl -sv --max-time 5 telnet://{address}:{probe.port}"
    return noted(
        kubectl(observation[probe.source], "-n", asked.sample_namespace, attempt),
        f"tries it; let TCP {probe.port} to {probe.address} pass (firewall, NetworkPolicy, load balancer)",
    )
