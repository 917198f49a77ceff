"""Mutual TLS across clusters, as the destination sees it."""

from collections.abc import Collection, Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, clients, expectations
from harness.model.cluster import Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import PeerIdentity, Request
from suites.conformance.common import brought_in_by, lost_clients, missing
from suites.conformance.sent import unasked

AREA = "mtls"
COUNTED = frozenset({"metrics", "ztunnel's access log"})
"""Evidence that holds the requests of all callers together."""


@requirement("MTLS-PEER", Level.EXTENDED, area=AREA, needs=(MeshFeature.SAMPLE,))
def test_mtls_peer(observation: Observation, evidence: Evidence) -> None:
    """A request from another cluster arrives over mutual TLS with the caller's identity.

    A client's configuration says what it means to do; what arrived only the destination's proxy knows. Examined is what
    the proxies of helloworld recorded of their callers: mutual TLS, and the SPIFFE identity of the client. Only the
    suite's own requests count. The access log tells them by their x-request-id; metrics count all callers together, so
    that on a mesh that the suite did not install they must hold at least the answered requests with that identity. The
    same holds for the access log of a ztunnel: it tells connections, and the identities that HBONE proved.

    Source: Istio, "Mutual TLS authentication"; SPIFFE X.509-SVID.
    """
    traffic = observation.traffic
    if traffic is None:
        for client in observation.topology.clusters:
            missing(observation, evidence, client, "helloworld")
        return
    if traffic.peers is None:
        evidence.skipped(traffic.peers_missing or "the destinations' proxies keep no evidence of their callers")
        return
    identities = _client_identities(observation)
    for cluster, _ in evidence.readable(observation, Subject.PODS):
        asked = [peer for peer in traffic.peers if peer.destination == cluster.name]
        peers = [peer for peer in asked if peer.requests]
        if not _called_from_elsewhere(observation, cluster):
            if lost := [client for client in lost_clients(observation) if client != cluster.name]:
                evidence.unknown(f"{cluster.name}: the requests of {', '.join(lost)} were lost")
            elif all(unasked(observation, other) for other in observation.topology.others(cluster)):
                evidence.not_applicable(f"{cluster.name} stands by for failover: no other cluster's client calls it")
            else:
                evidence.blocked("TR-REACH", f"no request from another cluster reached {cluster.name}")
            continue
        if not peers:
            _unrecorded(observation, evidence, cluster, asked)
        if observation.asked.mode == "verify-only":
            peers = _judge_metrics(observation, evidence, cluster, peers, identities)
        for peer in peers:
            evidence.expect(
                peer.mutual_tls and peer.principal in identities,
                cluster=cluster,
                object=f"Pod {observation.asked.sample_namespace}/{peer.pod}",
                field=f"caller in its {peer.evidence}, {peer.requests} requests",
                expected=f"mutual TLS, {' or '.join(sorted(identities))}",
                found=f"{'mutual TLS' if peer.mutual_tls else 'no mutual TLS'}, {peer.principal or 'no identity'}",
            )


def _judge_metrics(
    observation: Observation, evidence: Evidence, cluster: Cluster, peers: list[PeerIdentity], identities: set[str]
) -> list[PeerIdentity]:
    """Judge what metrics of a mesh that others use say of the suite's own requests; returns the other rows."""
    counted = [peer for peer in peers if peer.evidence in COUNTED]
    for pod in sorted({peer.pod for peer in counted}):
        mine = sum(p.requests for p in counted if p.pod == pod and p.mutual_tls and p.principal in identities)
        sent = sum(request.instance == pod for request in _requests(observation))
        evidence.expect(
            mine >= sent,
            cluster=cluster,
            object=f"Pod {observation.asked.sample_namespace}/{pod}",
            field=f"callers in its {next(peer.evidence for peer in counted if peer.pod == pod)}",
            expected=f"at least {sent} requests over mutual TLS, {' or '.join(sorted(identities))}",
            found=f"{mine} of {sum(p.requests for p in counted if p.pod == pod)}",
        )
    return [peer for peer in peers if peer.evidence not in COUNTED]


def _unrecorded(
    observation: Observation, evidence: Evidence, cluster: Cluster, asked: Collection[PeerIdentity]
) -> None:
    """Requests arrived that no proxy recorded: blocked where there is no proxy, unknown where none could be asked."""
    called = expectations.helloworld_pods(observation[cluster], observation.asked.sample_namespace)
    if called and not any(map(expectations.in_mesh, called)):
        by = brought_in_by(observation)
        evidence.blocked(by, f"{cluster.name}: no helloworld pod has a proxy that could tell who called")
    elif asked:
        for peer in asked:
            evidence.expect(
                False,
                cluster=cluster,
                object=f"Pod {observation.asked.sample_namespace}/{peer.pod}",
                field=f"callers in its {peer.evidence}",
                expected="those whose requests were answered",
                found="none: its proxy did not take the requests for helloworld's",
            )
    else:
        missing_evidence = f"{cluster.name}: no record of the requests that arrived"
        shared = observation.asked.mode == "verify-only"
        (evidence.not_applicable if shared else evidence.unknown)(missing_evidence)


def _client_identities(observation: Observation) -> set[str]:
    asked, topology = observation.asked, observation.topology
    return {
        expectations.spiffe_id(ca.trust_domain(observation, cluster), asked.sample_namespace, pod.service_account)
        for cluster in topology.clusters
        for pod in clients.client_pods(observation[cluster], asked)
    }


def _called_from_elsewhere(observation: Observation, cluster: Cluster) -> bool:
    return any(request.version == cluster.version for request in _requests(observation, but=cluster.name))


def _requests(observation: Observation, but: str = "") -> Iterator[Request]:
    """Every request that was sent, those of one client left aside."""
    for sequence in observation.traffic.coverage + observation.traffic.distribution if observation.traffic else ():
        if sequence.client != but:
            yield from sequence.requests
