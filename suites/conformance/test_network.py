"""Networks: named as the topology says, routed where it is one, and open for packets of full size."""

from itertools import combinations

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations, remotes, revisions
from harness.model.cluster import Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature
from harness.model.traffic import ProbeKind
from suites.conformance.common import answered, missing, outcome, timed_out, tried

AREA = "network"
OK = 200


@requirement("NET-LABEL", Level.MUST, area=AREA)
def test_net_label(observation: Observation, evidence: Evidence) -> None:
    """The system namespace of every cluster is labelled with its network.

    It is the default network of the cluster's pods. Without it istiod takes pods of another cluster for neighbours and
    sends traffic to addresses that nothing routes. A mesh that was found may name it in meshNetworks instead, or leave
    it to injection, which labels every pod with its network. Where no sample shows what sidecars are given, injection
    must be configured with a network: a sidecar without one is sent to addresses of every other.

    Source: chapter, "Configure Istio to use network1 as the default network for the pods on the East cluster".
    """
    for cluster, observed in evidence.readable(observation, Subject.NAMESPACES):
        system = observation.asked.system_namespace
        namespace = observed.namespace(system)
        found = (expectations.network_name(observation, cluster) or "none") if namespace else "no such namespace"
        single = Feature.MULTI_NETWORK not in observation.topology.features
        needless = observation.asked.mode == "verify-only" and single and found == "none"
        evidence.expect(
            found == cluster.network or needless,
            cluster=cluster,
            object=f"Namespace {system}",
            field=f"label {expectations.NETWORK_LABEL}",
            expected=cluster.network,
            found=found,
        )
        sidecars = has_feature(observation, MeshFeature.SIDECARS)
        if sidecars and not single and not has_feature(observation, MeshFeature.SAMPLE):
            _judge_injected_network(observation, evidence, cluster)


def _judge_injected_network(observation: Observation, evidence: Evidence, cluster: Cluster) -> None:
    """Judge, where no pod of a sample shows it, that injection names the network to the sidecars of a primary."""
    observed, revision = observation[cluster], revisions.revision(observation, cluster)
    config = expectations.mesh_config(observed, revision)
    if not cluster.is_primary or config is None or not config.values:
        return
    rules = (rule for webhook in expectations.injection_webhooks(observed, revision) for rule in webhook.webhooks)
    paths = (remotes.injected_as(rule).get("network", "") for rule in rules)
    found = str((config.values.get("global") or {}).get("network") or "") or next(filter(None, paths), "")
    evidence.expect(
        bool(found),
        cluster=cluster,
        object=f"ConfigMap {observation.asked.system_namespace}/istio-sidecar-injector",
        field="global.network",
        expected=cluster.network,
        found=found or "none",
    )


@requirement("NET-DISTINCT", Level.MUST, Feature.MULTI_NETWORK, area=AREA)
def test_net_distinct(observation: Observation, evidence: Evidence) -> None:
    """Clusters on different networks have different network names.

    One name says that pods reach each other directly: istiod then hands out pod addresses instead of the gateway's, and
    every request across times out or is retried at home. Compared are the labels of the system namespaces.

    Source: chapter, "Multi-Network: Clusters reside on different networks"; label topology.istio.io/network.
    """
    names: dict[str, str] = {}
    for cluster, _ in evidence.readable(observation, Subject.NAMESPACES):
        if name := expectations.network_name(observation, cluster):
            names[cluster.name] = name
        else:
            evidence.blocked("NET-LABEL", f"{cluster.name} has no network name")
    for one, other in combinations(observation.topology.clusters, 2):
        if one.network != other.network and {one.name, other.name} <= names.keys():
            evidence.expect(
                names[one.name] != names[other.name],
                cluster=other,
                object=f"Namespace {observation.asked.system_namespace}",
                field=f"label {expectations.NETWORK_LABEL}",
                expected=f"another one than {one.name}'s {names[one.name]}",
                found=names[other.name],
            )


@requirement("NET-ROUTES", Level.SHOULD, Feature.SINGLE_NETWORK, area=AREA, needs=(MeshFeature.SAMPLE,))
def test_net_routes(observation: Observation, evidence: Evidence) -> None:
    """A pod reaches the pods of every other cluster on its network directly.

    On a single network there is no gateway between clusters: endpoints are pod addresses, and without routes every
    request across fails, hidden by retries at home. Examined is a connection from a pod of each cluster to a pod of
    each other, both ways.

    Source: chapter, "Single Network: All clusters reside on the same network and there is direct connectivity".
    """
    for source in observation.topology.clusters:
        for target in observation.topology.others(source):
            if target.network != source.network:
                continue
            sent = [
                probe
                for probe in observation.probes
                if (probe.kind, probe.source, probe.target) == (ProbeKind.POD_ROUTE, source.name, target.name)
            ]
            if not sent:
                pods = expectations.helloworld_pods(observation[target], observation.asked.sample_namespace)
                if pods:
                    missing(observation, evidence, source, f"a pod of {target.name}")
                else:
                    evidence.blocked("WL-PLACED", f"{target.name} has no pod to reach")
            for probe in (probe for probe in sent if tried(evidence, probe)):
                evidence.expect(
                    answered(probe),
                    cluster=source,
                    object=f"route {source.name} → {target.name}",
                    field=f"{probe.address}:{probe.port}",
                    expected="answered",
                    found=outcome(probe),
                    timed=timed_out(probe),
                )


@requirement("NET-PACKETS", Level.SHOULD, area=AREA, for_traffic=True)
def test_net_packets(observation: Observation, evidence: Evidence) -> None:
    """A request that fills packets reaches every cluster that is reached at all.

    Connections open with small packets. Where a tunnel or VPN between clusters takes smaller packets than the
    interfaces at its ends send, and the ICMP message that says so is filtered, full ones are lost: TLS handshakes and
    longer requests hang. Examined is a request with a header of 16 KiB to the readiness port (15021) of each gateway
    that other clusters need, on a single network to that of helloworld's sidecars, after a short one was answered
    there. What answers no short one is judged by GW-REACHABLE and NET-ROUTES.

    Source: RFC 1191, "Path MTU Discovery"; RFC 2923, section 2.1 (black hole detection).
    """
    sent = [probe for probe in observation.probes if probe.kind is ProbeKind.PACKETS]
    if not sent:
        evidence.skipped("no request of 16 KiB was sent")
    for probe in sent:
        if not tried(evidence, probe):
            continue
        if probe.status != OK:
            why = f"a short request is not answered ({outcome(probe)})"
            evidence.not_applicable(f"{probe.source} → {probe.target} {probe.address}:{probe.port}: {why}")
        else:
            evidence.expect(
                answered(probe),
                cluster=probe.source,
                object=f"way {probe.source} → {probe.target}",
                field=f"a request of 16 KiB to {probe.address}:{probe.port}",
                expected="answered, as the short one before it",
                found=outcome(probe),
                timed=timed_out(probe),
            )
