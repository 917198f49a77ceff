"""What requirements of several areas ask of an observation, with the reservations that follow when it isn't there."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.placement import place
from harness.model import (
    bystanders,
    ca,
    captured,
    client_endpoints,
    clients,
    expectations,
    gateways,
    remotes,
    revisions,
)
from harness.model.certificate import CaSecret
from harness.model.cluster import ClusterObservation, Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Proxy
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult


def ca_object(observation: Observation) -> str:
    """How findings name the chapter's secret."""
    return f"Secret {observation.asked.system_namespace}/{ca.SECRET}"


def ca_home(observation: Observation, cluster: Cluster) -> str:
    """The name of the cluster on which a cluster's `cacerts` stands: beside its control plane, wherever that runs."""
    return observation.topology.home_of(cluster).name


def ca_secrets(
    observation: Observation, evidence: Evidence, *also: Subject, among: tuple[Cluster, ...] | None = None
) -> Iterator[tuple[Cluster, ClusterObservation, CaSecret]]:
    """The clusters whose `cacerts` is judged, is there and was read; blocked by CERT-SECRET where it is not there."""
    for cluster, observed in evidence.readable(observation, Subject.CA_SECRET, *also, among=among):
        home = ca_home(observation, cluster)
        if not ca.needs_secret(observation, cluster):
            evidence.fact(f"{home}: no secret is needed here: {ca.kind_of(observation, cluster)}")
        elif observed.ca_secret is None or not observed.ca_secret.exists:
            evidence.blocked("CERT-SECRET", f"{home} has no {ca_object(observation)}")
        elif ca.was_not_parsed(observed.ca_secret):
            evidence.skipped(f"{home}: recorded before the content of tls.crt and ca.crt was read")
        else:
            yield cluster, observed, observed.ca_secret


def site_pki(observation: Observation) -> bool:
    """Whether somebody else made the certificates: then only what any CA needs is judged."""
    return observation.asked.own_pki or ca.found(observation)


def form(
    observation: Observation,
    evidence: Evidence,
    holds: bool,
    *,
    cluster: Cluster | ClusterObservation,
    object: str,  # noqa: A002 - the field's name in a finding
    field: str,
    expected: object,
    found: object,
) -> None:
    """Judge the chapter's form on a mesh that the run installed; on one that was there before only report it."""
    if holds or not ca.found(observation):
        evidence.expect(holds, cluster=cluster, object=object, field=field, expected=expected, found=found)
    else:
        where = place(cluster, object) if isinstance(cluster, Cluster) else cluster.name
        evidence.fact(f"{where}: {object} {field}: {found} (the chapter: {expected})")


def running_control_planes(observation: Observation, evidence: Evidence, primary: Cluster) -> tuple[ControlPlane, ...]:
    """The control planes of a primary that serve the mesh, as observed; blocked by CP-READY where none runs."""
    if planes := revisions.control_planes(observation, primary):
        return planes
    if any(pod.ready for pod in expectations.istiod_pods(observation[primary])):
        evidence.unknown(f"{observation.topology.home_of(primary).name}: istiod runs, and was not observed")
    else:
        evidence.blocked("CP-READY", f"no control plane runs on {observation.topology.home_of(primary).name}")
    return ()


def telling_control_planes(observation: Observation, evidence: Evidence, primary: Cluster) -> tuple[ControlPlane, ...]:
    """The same that say which clusters and proxies they know; skipped where the debug interface is off."""
    planes = running_control_planes(observation, evidence, primary)
    if any(plane.debug_off for plane in planes):
        evidence.skipped(f"{primary.name}: the debug interface of istiod is off (ENABLE_DEBUG_ON_HTTP=false)")
        return ()
    return planes


def brought_in_by(observation: Observation) -> str:
    """The requirement that judges whether the sample's pods are in the mesh."""
    return "AMB-CAPTURE" if observation.asked.ambient else "WL-INJECTED"


def lacking(observation: Observation, evidence: Evidence, by: str, reason: str) -> None:
    """Note that something can't be judged without the sample: blocked, and not applicable where nobody brought one."""
    if has_feature(observation, MeshFeature.SAMPLE):
        evidence.blocked(by, reason)
    else:
        evidence.not_applicable(reason)


def proxies(observation: Observation, evidence: Evidence, cluster: Cluster) -> Iterator[Proxy]:
    """The proxy of each pod of a cluster that has one.

    Blocked by WL-INJECTED where it isn't ready, unknown where it is and was not read. On a mesh of others a pod that is
    not ready, and that nothing needs, is left aside. Where ztunnels carry the traffic, also what each does for the
    pods of its node.
    """
    observed = observation[cluster]
    read = {(proxy.namespace, proxy.pod): proxy for proxy in observed.proxies}
    found = False
    for pod in observed.lasting_pods:
        container = pod.proxy
        if container is None:
            continue
        found = True
        name = f"{cluster.name}: {pod.namespace}/{pod.name}"
        if proxy := read.get((pod.namespace, pod.name)):
            yield proxy
        elif container.ready:
            evidence.unknown(f"{name} has a proxy, which was not observed")
        elif bystanders.waits_beside(observation, cluster, pod):
            evidence.fact(f"{name} is not ready, and stands beside what is judged")
        else:
            evidence.blocked("WL-INJECTED", f"{name}: its proxy is not ready: {container.reason or container.state}")
    if observation.asked.ambient:
        found |= bool(captured.captured_pods(observation, cluster))
        yield from captured_proxies(observation, evidence, cluster)
    if not found:
        lacking(observation, evidence, brought_in_by(observation), f"no pod on {cluster.name} has a proxy")


def captured_proxies(observation: Observation, evidence: Evidence, cluster: Cluster) -> Iterator[captured.CapturedPod]:
    """What a ztunnel does for each captured pod; blocked by AMB-ZTUNNEL where none is ready on its node."""
    for _ in evidence.readable(observation, Subject.ZTUNNELS, among=(cluster,)):
        yield from captured.views(observation, cluster)
        for pod in captured.captured_pods(observation, cluster):
            if captured.ztunnel_of(observation, cluster, pod) is not None:
                continue
            name = f"{cluster.name}: {pod.namespace}/{pod.name}"
            if captured.has_ready_ztunnel(observation, cluster, pod):
                evidence.unknown(f"{name}: the ztunnel of node {pod.node} was not observed")
            else:
                evidence.blocked("AMB-ZTUNNEL", f"{name}: no ztunnel is ready on node {pod.node}")


def lost_clients(observation: Observation) -> tuple[str, ...]:
    """The clients whose requests the suite could not send, or lost: what they did not reach proves nothing."""
    traffic = observation.traffic
    sequences = traffic.coverage + traffic.distribution if traffic else ()
    return tuple(dict.fromkeys(s.client for s in sequences if s.transport_error or not s.requests))


def answered(probe: Probe) -> bool:
    """Whether the peer answered."""
    return probe.result is ProbeResult.ANSWERED


def timed_out(probe: Probe) -> bool:
    """Whether a deadline passed, which on an overloaded machine says nothing about the mesh."""
    return probe.result is ProbeResult.TIMEOUT


def outcome(probe: Probe) -> str:
    """How a probe ended, in a few words."""
    return f"{probe.result}: {probe.detail}" if probe.detail else probe.result.value


def tried(evidence: Evidence, probe: Probe) -> bool:
    """Whether a probe could be sent at all; unknown where the suite failed, skipped where the pod has no tool.

    A proxy's image may have no shell (distroless). The application's container beside it is no substitute: what it
    sends is redirected to the proxy, which answers in place of what is probed.
    """
    what = f"{probe.source} → {probe.target} {probe.address}:{probe.port}: {probe.kind}"
    if probe.result is ProbeResult.TRANSPORT:
        evidence.unknown(f"{what} could not be sent: {probe.detail}")
    elif probe.result is ProbeResult.NO_TOOL:
        evidence.skipped(f"{what}: can't be tried from {probe.source_pod}: {probe.detail or 'no program for it there'}")
    return probe.result not in {ProbeResult.TRANSPORT, ProbeResult.NO_TOOL}


def cover(
    observation: Observation,
    evidence: Evidence,
    kind: ProbeKind,
    *,
    target: Cluster,
    port: int,
    sources: tuple[Cluster, ...],
) -> Iterator[Probe]:
    """The probes of one port of a cluster's gateways: every address, from every cluster that needs it.

    The port is Envoy's (15443, 15008, 15012, 15017); a Service may have another one in front of it.
    Blocked by GW-ADDRESS where the gateway has no address, by WL-PLACED where the source has no client to send from;
    unknown where a probe is missing.
    """
    if (
        port != expectations.mesh_port(observation.asked)
        and sources
        and remotes.served_from_elsewhere(observation, target, port)
    ):
        evidence.fact(f"{target.name}: its remotes reach istiod by something outside of the clusters, not over {port}")
        return
    entrances = gateways.entrances(observation.topology, observation, target, port)
    if sources and not entrances:
        evidence.blocked("GW-ADDRESS", f"the gateway of {target.name} has no address")
    for source in sources:
        sent = [
            probe
            for probe in observation.probes
            if (probe.kind, probe.source, probe.target) == (kind, source.name, target.name)
        ]
        usable = [each for each in entrances if client_endpoints.in_family(observation, source, each.address)]
        for other in (each for each in entrances if usable and each not in usable):
            evidence.fact(f"{source.name}: {other.address} is of an IP family that its pods do not have")
        for entrance in usable or entrances:
            at = (entrance.address, entrance.port)
            found = [probe for probe in sent if (probe.address, probe.port) == at]
            if not found:
                missing(observation, evidence, source, f"{kind} to {target.name} {entrance.address}:{entrance.port}")
            yield from (probe for probe in found if tried(evidence, probe))


def missing(observation: Observation, evidence: Evidence, source: Cluster, what: str) -> None:
    """Note that a probe or request was not sent: `lacking` where there is no client, else unknown."""
    if clients.client_available(observation, source):
        evidence.unknown(f"{source.name}: {what} was not tried")
    else:
        lacking(observation, evidence, "WL-PLACED", f"{source.name} has no client to try {what} from")


def condition_ready(evidence: Evidence, observed: ClusterObservation, kind: str, name: str, *, waited: bool) -> bool:
    """Judge an operator's resource by its condition Ready; what explains it stands in the webhook's annotations."""
    resource = next((r for r in observed.sail if (r.kind, r.name) == (kind, name)), None)
    condition = next((c for c in resource.conditions if c.type == "Ready"), None) if resource else None
    found = "no such resource" if resource is None else "no condition Ready"
    if condition:
        found = ": ".join(filter(None, (f"Ready={condition.status}", condition.reason, condition.message)))
    why = [text for webhook in observed.webhooks for text in webhook.annotations.values()]
    ready = bool(condition and condition.status == "True")
    if why and not ready and kind == "Istio":
        found = f"{found}; webhook: {'; '.join(why)}"
    return evidence.expect(
        ready,
        waited=waited,
        cluster=observed,
        object=f"{kind} {name}",
        field="condition",
        expected="Ready=True",
        found=found,
    )


def judge_config_secrets(observation: Observation, evidence: Evidence) -> None:
    """Judge that each control plane outside of the mesh is given the API server of its config cluster."""
    for host, _ in evidence.readable(observation, Subject.REMOTE_SECRETS, among=observation.topology.hosts):
        evidence.expect(
            there := remotes.has_config_secret(observation, host),
            cluster=host,
            object=f"Secret {observation.asked.system_namespace}/{remotes.CONFIG_SECRET}",
            field="exists",
            expected=f"the kubeconfig of {observation.topology.hosted_by(host).name}",
            found="there" if there else "none",
        )
