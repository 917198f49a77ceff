"""Causes in the east-west gateways: their load balancer, their pods, and what they expose."""

import json
from collections.abc import Iterator
from shlex import quote

from harness.judge.diagnose.facts import (
    IMAGE_REASONS,
    events,
    failed_steps,
    few,
    known_endpoints,
    logged_elsewhere,
    network_label,
    read,
    requests_logged,
    short,
    trouble,
    waiting,
)
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted, patch, restart
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Container, Pod, Subject, Workload
from harness.model.observation import Observation
from harness.model.step import Outcome, Phase
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult

CLOUD_PROVIDER_KIND = "cloud-provider-kind"
SILENT = frozenset({ProbeResult.REFUSED, ProbeResult.TIMEOUT, ProbeResult.UNREACHABLE})


def _pods(observation: Observation, observed: ClusterObservation) -> tuple[Pod, ...]:
    if services := gateways.services(observed):
        return tuple(pod for service in services for pod in gateways.pods(observed, service))
    return observed.pods_with(observation.asked.system_namespace, istio="eastwestgateway")


def named(observation: Observation, observed: ClusterObservation, kind: str) -> str:
    """Kind, namespace and name of the gateway's Service or Deployment."""
    found = expectations.gateway_service(observed) if kind == "Service" else expectations.gateway_workload(observed)
    default = f"{observation.asked.system_namespace}/{expectations.GATEWAY}"
    return f"{kind} {found.namespace}/{found.name}" if found else f"{kind} {default}"


@cause("gateway-down", Layer.GATEWAYS, "GW-AVAILABLE")
def gateway_down(observation: Observation) -> Iterator[Found]:
    """The east-west gateway is missing or scaled to 0.

    Nothing answers at its address: other networks reach none of this cluster's services, and where it is a primary's
    its remotes reach no control plane.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, among=expectations.gateways(observation.topology)):
        deployment = expectations.gateway_workload(observed)
        if deployment is None or deployment.desired == 0:
            scale = (
                kubectl(observed, "-n", deployment.namespace, f"scale deployment/{deployment.name} --replicas=1")
                if deployment
                else _install(observation, cluster)
            )
            yield Found(
                cluster=cluster.name,
                object=named(observation, observed, "Deployment"),
                field="spec.replicas",
                expected="at least 1",
                found="0" if deployment else "no such Deployment",
                repair=scale,
                evidence=few(failed_steps(observation, cluster.name)),
            )


def _install(observation: Observation, cluster: Cluster) -> str:
    values = {"namespace": observation.asked.system_namespace, "network": cluster.network}
    return manifest(observation[cluster], "east-west-gateway-service", "east-west-gateway", **values)


@cause("gateway-image-pull", Layer.GATEWAYS, "GW-AVAILABLE")
def gateway_image_pull(observation: Observation) -> Iterator[Found]:
    """The gateway's image can't be pulled.

    With `image: auto` the API server sets imagePullPolicy to Always before injection puts the real image in, since
    "auto" has no tag. Nodes that were given the image beforehand, with no registry to ask, then never start the pod:
    ImagePullBackOff.
    """
    for _, observed in read(observation, Subject.PODS, among=expectations.gateways(observation.topology)):
        for pod in _pods(observation, observed):
            container = waiting(pod)
            if container is None or container.reason not in IMAGE_REASONS or _uninjected(container):
                continue
            yield _unpulled(observed, pod, container)
            break


def _unpulled(observed: ClusterObservation, pod: Pod, container: Container) -> Found:
    workload = expectations.gateway_workload(observed)
    name = workload.name if workload else expectations.GATEWAY
    seen = f"{container.reason}: {container.image}"
    always = container.pull_policy in {"Always", ""}  # "" where the observation is older than this field
    if always:
        field, wanted = "imagePullPolicy", "IfNotPresent, or an image that can be pulled"
        seen += f", imagePullPolicy {container.pull_policy}" if container.pull_policy else ""
        containers = [{"name": container.name, "imagePullPolicy": "IfNotPresent"}]
        change = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}}, separators=(",", ":"))
        repair = noted(
            kubectl(observed, "-n", pod.namespace, f"patch deployment/{name} -p {quote(change)}"),
            f"where the nodes hold {container.image}; else let them pull it",
        )
    else:
        field, wanted = "image", "one that can be pulled, or that the nodes hold"
        repair = noted(
            kubectl(observed, "-n", pod.namespace, f"delete pod {pod.name}"),
            f"once the nodes can pull {container.image} (registry, pull secret), or hold it",
        )
    return Found(
        cluster=observed.name,
        object=f"Pod {pod.namespace}/{pod.name} container {container.name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=repair,
        evidence=few([container.message], events(observed, f"Pod/{pod.name}")),
    )


def _uninjected(container: Container) -> bool:
    """Injection would have put a real image in."""
    return container.image.rpartition("/")[2].partition(":")[0] == "auto"


@cause("gateway-not-injected", Layer.GATEWAYS, "GW-AVAILABLE", effect=True)
def gateway_not_injected(observation: Observation) -> Iterator[Found]:
    """The gateway's pod was not injected.

    Its image is still called "auto", which no registry has. It was created while the injection webhook was not there;
    injection works now, and a new pod gets the real image.
    """
    for cluster, observed in read(observation, Subject.PODS, among=expectations.gateways(observation.topology)):
        pods = [pod for pod in _pods(observation, observed) if any(map(_uninjected, pod.containers))]
        workload = expectations.gateway_workload(observed)
        if pods and workload:
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pods[0].namespace}/{pods[0].name} container {expectations.PROXY}",
                field="image",
                expected="the proxy's, by injection",
                found="auto",
                repair=restart(observed, workload.namespace, f"deployment/{workload.name}"),
                evidence=few(events(observed, f"Pod/{pods[0].name}"), failed_steps(observation, cluster.name)),
            )


@cause("gateway-unavailable", Layer.GATEWAYS, "GW-AVAILABLE", effect=True)
def gateway_unavailable(observation: Observation) -> Iterator[Found]:
    """The gateway's pods don't become ready.

    They can't be scheduled or started, or their proxy gets no configuration or certificate.
    """
    for cluster, observed in read(
        observation, Subject.WORKLOADS, Subject.PODS, among=expectations.gateways(observation.topology)
    ):
        deployment = expectations.gateway_workload(observed)
        if deployment is None or deployment.desired == 0 or deployment.available:
            continue
        pods = _pods(observation, observed)
        evidence = few(trouble(observed, deployment, pods), failed_steps(observation, cluster.name))
        yield Found(
            cluster=cluster.name,
            object=named(observation, observed, "Deployment"),
            field="condition Available",
            expected="True",
            found=short(evidence, f"{deployment.ready} of {deployment.desired} pods ready"),
            repair=noted(
                kubectl(observed, "-n", deployment.namespace, f"describe pods -l istio={_label(deployment)}"),
                "mend what the evidence names",
            ),
            evidence=evidence,
        )


def _label(deployment: Workload) -> str:
    return deployment.labels.get("istio", "eastwestgateway")


@cause("gateway-no-address", Layer.GATEWAYS, "GW-ADDRESS")
def gateway_no_address(observation: Observation) -> Iterator[Found]:
    """The east-west gateway has no address outside of its cluster.

    Its Service stays <pending>: no load balancer controller serves this cluster, its address pool is used up, or the
    Service is of another type. istiod then does not know how other networks reach this one. cloud-provider-kind that
    ran on while a cluster was deleted and created again under the same name keeps its old API client: restart it.
    """
    for cluster, observed in read(observation, Subject.SERVICES, among=expectations.gateways(observation.topology)):
        service = expectations.gateway_service(observed)
        if gateways.entrances(observation.topology, observation, cluster) or (service and gateways.addresses(service)):
            continue
        if service is None:
            found, repair = "no such Service", _install(observation, cluster)
        elif service.type == "NodePort":
            found = "none: a NodePort without nodes that istiod may give to clients"
            repair = noted(
                kubectl(observed, "-n", service.namespace, f"describe service {service.name}"),
                "annotate it with traffic.istio.io/nodeSelector for nodes that have an ExternalIP, or have it balanced",
            )
        elif service.type != "LoadBalancer":
            found = f"none: the Service's type is {service.type}"
            change = {"spec": {"type": "LoadBalancer"}}
            repair = patch(observed, f"service/{service.name}", change, namespace=service.namespace)
        elif observation.asked.load_balancer == CLOUD_PROVIDER_KIND:
            found = "none (<pending>)"
            repair = noted(
                f"pkill -x {CLOUD_PROVIDER_KIND}; {CLOUD_PROVIDER_KIND} &",
                f"restart {CLOUD_PROVIDER_KIND}: it keeps its API client of a cluster that was created again",
            )
        else:
            found = "none (<pending>)"
            repair = noted(
                kubectl(observed, "-n", service.namespace, f"describe service {service.name}"),
                f"give its load balancer's controller addresses; on kind restart {CLOUD_PROVIDER_KIND}",
            )
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


def _balancer_steps(observation: Observation) -> Iterator[str]:
    """Whether the load balancer runs since before the clusters were there: then it may know other ones."""
    for step in observation.steps:
        if step.phase is Phase.LOAD_BALANCER and step.outcome is Outcome.SKIPPED:
            yield f"{step.title}: {step.detail}"


@cause("gateway-unlabelled", Layer.GATEWAYS, "EP-COMPLETE", breaks=Layer.ENDPOINTS)
def gateway_unlabelled(observation: Observation) -> Iterator[Found]:
    """The gateway's Service does not say whose network's gateway it is.

    istiod finds the gateway of a network by the label topology.istio.io/network on its Service. Without it the network
    has no gateway that istiod knows, and clients elsewhere are given its pods' own addresses, which they can't reach.
    """
    for cluster, observed in read(
        observation, Subject.SERVICES, among=expectations.multi_network_gateways(observation.topology)
    ):
        service = expectations.gateway_service(observed)
        label = service.labels.get(expectations.NETWORK_LABEL) if service else None
        # A gateway that says the same wrong network as its namespace follows from that.
        if service is None or label == cluster.network or (label and label == network_label(observation, observed)):
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
    policy or a load balancer that does not pass this port. 15443 carries services, 15012 configuration and
    certificates, 15017 injection.
    """
    silent: dict[tuple[str, int], list[Probe]] = {}
    for probe in observation.probes:
        if probe.kind is ProbeKind.TCP and probe.result in SILENT:
            silent.setdefault((probe.target, probe.port), []).append(probe)
    for (target, port), probes in silent.items():
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
        tried = (f"{p.source} {p.source_pod} → {p.address}:{p.port}: {p.result} {p.detail}" for p in probes)
        yield Found(
            cluster=target,
            object=f"{named(observation, observed, 'Service')} port {port}",
            field=f"reachable at {first.address}:{port} from {', '.join(dict.fromkeys(p.source for p in probes))}",
            expected="answers",
            found=f"{first.result} {first.detail}".strip(),
            repair=_open(observation, first),
            change=f"Let TCP {port} to {first.address} pass from {', '.join(dict.fromkeys(p.source for p in probes))}: "
            f"in the firewall, the NetworkPolicies, and the load balancer of {named(observation, observed, 'Service')}",
            evidence=few(
                tried,
                [f"other ports answer: {', '.join(open_ports)}" if open_ports else ""],
                requests_logged(observation, f"{first.address}:{port}"),
            ),
        )


def _needed(observation: Observation, target: Cluster) -> set[int]:
    """The ports at which clients reach what they need of a cluster's gateways."""
    topology = observation.topology
    ports = expectations.needed_ports(topology, target)
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
