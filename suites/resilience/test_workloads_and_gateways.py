"""What holds while workloads, gateways and control planes go away and come back, and while the network is cut."""

from itertools import pairwise

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model.observation import Observation
from harness.model.resilience import Scenario, Stream
from harness.model.topology import Feature
from suites.resilience.common import (
    ENDING_BUDGET,
    GATEWAY_BUDGET,
    Phase,
    expect_served,
    expect_served_but,
    expect_within,
    moments,
    phases,
    played,
)

FAILOVER_SECONDS = 35.0
"""A pod's default grace period of 30 s, within which it may answer on, and what its removal takes to be known."""
RETURN_SECONDS = 60.0
RECOVERY_SECONDS = 60.0
"""TCP's retransmissions and Envoy's connect timeout of 10 s, several of them one after the other."""
SILENCE_SECONDS = 5.0
FIRST = 10
"""Requests after a pause: every client then uses each connection that it has kept."""
EDGE_SECONDS = 5.0
"""For every node to have begun, or ended, to drop packets."""


@requirement("RES-LOCAL-OUT", Level.EXTENDED, area="resilience", scenario="local-out")
def test_res_local_out(observation: Observation, evidence: Evidence) -> None:
    """Where the local helloworld goes away the other clusters' answer instead; when it comes back, it answers, too.

    On one cluster after the other its helloworld is scaled to 0 and back to 1 while every cluster's client sends 5
    requests a second. After it is scaled to 0 the last answer of its version comes within 35 s, the grace period of a
    pod and the time until its removal is known; from then on the others answer every client. After it is available
    again it answers every client within 60 s. The times are stated.

    Error budget: 3 requests for each client while the pod is away, none otherwise. A pod is told to end when its
    endpoints begin to be withdrawn; until every proxy knows, requests meet an application that listens no more. The
    sidecar before it answers 503, which the client's proxy does not send again.

    Source: Istio, "Traffic Management", retries; release notes of 1.24, issue 50506 (503 is not retried by default);
    Kubernetes, "Pod Lifecycle", termination.
    """
    for record in played(observation, evidence, "local-out"):
        expect_served_but(evidence, record, (ENDING_BUDGET, [(phase.acted, phase.mended) for phase in phases(record)]))
        for phase in phases(record):
            version = observation.topology[phase.cluster].version
            for stream in record.streams:
                _expect_failover(evidence, stream, phase, version)
            back = [each.at for each in moments(record, "available") if each.cluster == phase.cluster]
            for stream in record.streams:
                answers = [r.sent for r in stream.requests if r.version == version and r.sent >= phase.mended]
                late = (answers[0] if answers else record.seconds) - (back[0] if back else phase.mended)
                what = f"{version} answers {stream.client} again"
                expect_within(evidence, what, max(0.0, late), RETURN_SECONDS, cluster=phase.cluster)


def _expect_failover(evidence: Evidence, stream: Stream, phase: Phase, version: str) -> None:
    during = [each for each in stream.requests if phase.acted <= each.sent < phase.mended]
    own = [each.sent for each in during if each.version == version]
    last = (own[-1] if own else phase.acted) - phase.acted
    expect_within(
        evidence, f"last answer of {version} to {stream.client}", last, FAILOVER_SECONDS, cluster=phase.cluster
    )
    others = {each.version for each in during if each.version and each.sent > phase.acted + last}
    evidence.expect(
        bool(others - {version}),
        cluster=phase.cluster,
        object=f"answers to {stream.client}",
        field="after that",
        expected="from the other clusters",
        found=", ".join(sorted(others)) or "none",
    )


@requirement(
    "RES-GATEWAY-RESTART",
    Level.EXTENDED,
    Feature.MULTI_NETWORK,
    Feature.PRIMARY_REMOTE,
    area="resilience",
    scenario="gateway-restart",
)
def test_res_gateway_restart(observation: Observation, evidence: Evidence) -> None:
    """A restart of an east-west gateway costs a few requests at most, and every client is soon served again.

    On one cluster after the other the gateway's Deployment is restarted as a rollout.

    Error budget: 3 requests for each client from each gateway's restart until the mesh is whole again, none otherwise.
    The chapter's gateway has one replica; the rollout brings the new pod up before it ends the old one, so new
    connections always find a gateway. The connections of the old pod end with it, and a request that is just then under
    way on one of them is lost: its proxy may not send it again, for it may have been carried out. Afterwards every
    version answers every client within 60 s; the time is stated.

    Source: Istio, "Installing Gateways"; Envoy, "x-envoy-retry-on"; Kubernetes, "Rolling update deployment".
    """
    for record in played(observation, evidence, "gateway-restart"):
        expect_served_but(evidence, record, (GATEWAY_BUDGET, [(phase.acted, phase.whole) for phase in phases(record)]))
        _expect_recovery(evidence, record, "the gateway's rollout")


@requirement("RES-ISTIOD-RESTART", Level.EXTENDED, area="resilience", scenario="istiod-restart")
def test_res_istiod_restart(observation: Observation, evidence: Evidence) -> None:
    """Requests do not notice that the control plane is gone for a while, and proxies find it again.

    On one primary after the other every istiod pod is deleted at once: for some seconds there is none. Every proxy that
    was connected to it is connected again within 90 s; a remote's too, whose way leads through the gateway.

    Error budget: none. Proxies serve by the configuration and the certificates that they have.

    Source: Istio, "Architecture"; "Deployment Best Practices"; Envoy, "xDS protocol".
    """
    for record in played(observation, evidence, "istiod-restart"):
        expect_served(evidence, record)
        for lost in moments(record, "not connected"):
            evidence.expect(
                False,
                cluster=lost.cluster,
                object=f"istiod of {lost.cluster}",
                field="proxies after its restart",
                expected="connected as before",
                found=f"not connected: {lost.detail}",
            )
        for phase in phases(record):
            for name in ("available", "connected"):
                for moment in (each for each in moments(record, name) if each.cluster == phase.cluster):
                    what = "istiod is available" if name == "available" else "every proxy is connected"
                    evidence.fact(f"{phase.cluster}: {what} again after {moment.at - phase.acted:.1f} s")


@requirement("RES-NETWORK-CUT", Level.EXTENDED, area="resilience", scenario="network-cut")
def test_res_network_cut(observation: Observation, evidence: Evidence) -> None:
    """While the network between the clusters is cut, each goes on with its own; when it is mended, all is as before.

    Every node drops every packet from and to the other clusters' nodes, pods and gateways for 20 s. In that time no
    client is without an answer of its own cluster for longer than 5 s; in a primary-remote mesh that holds for the
    remote as well, whose control plane is out of reach. Within 60 s of the network's return every version answers every
    client, and none fails; the time is stated.

    Error budget: requests that are sent from 5 s before the cut (they may be under way) until the mesh is whole again
    may fail, for a proxy learns only by its timeouts that the other cluster's endpoints are out of reach; no other may.

    Source: Istio, "Deployment Models", multiple clusters; Envoy, "Connection timeouts".
    """
    for record in played(observation, evidence, "network-cut"):
        cuts = [(phase.acted - record.limit, phase.whole) for phase in phases(record)]
        expect_served(evidence, record, excused=cuts)
        for phase in phases(record):
            for stream in record.streams:
                _require_cut(evidence, stream, phase, observation.topology[stream.client].version)
                _expect_local(evidence, stream, phase, observation.topology[stream.client].version)
        _expect_recovery(evidence, record, "the network's return")


@requirement("RES-IDLE-MINUTE", Level.EXTENDED, area="resilience", scenario="idle-minute")
def test_res_idle_minute(observation: Observation, evidence: Evidence) -> None:
    """After a minute without requests the first ones are answered, as all are.

    Proxies keep their connections to pods and gateways, by default for an hour without a request. What stands between
    the clusters (address translation, a load balancer, a firewall) may forget a connection after less than a minute,
    and drop its packets from then on. The first request that uses it then hangs until its time is over. How long the
    first requests took is stated.

    Error budget: none.

    Source: Envoy, "How do I configure timeouts?", idle timeout of connections; RFC 5382, REQ-5 (2 hours 4 minutes).
    """
    for record in played(observation, evidence, "idle-minute"):
        expect_served(evidence, record)
        for phase in phases(record):
            for stream in record.streams:
                _tell_first(evidence, stream, phase)


def _tell_first(evidence: Evidence, stream: Stream, phase: Phase) -> None:
    first = [each for each in stream.requests if each.sent >= phase.mended][:FIRST]
    idle = [each for each in stream.requests if phase.acted + 1.0 < each.sent < phase.mended]
    if idle or not first:
        evidence.unknown(f"{stream.client}: {'it did not pause' if idle else 'nothing was sent after the pause'}")
    else:
        slowest = max(each.seconds for each in first)
        evidence.fact(f"{stream.client}: its first {len(first)} requests after the pause took {slowest:.3f} s at most")


def _require_cut(evidence: Evidence, stream: Stream, phase: Phase, version: str) -> None:
    """Nothing is shown where answers of other clusters pass; at both ends it takes nodes a moment to drop packets."""
    passed = {
        each.version
        for each in stream.requests
        if phase.acted + EDGE_SECONDS <= each.sent
        and each.sent + each.seconds <= phase.mended - EDGE_SECONDS
        and each.version
    }
    if others := passed - {version}:
        evidence.unknown(f"{stream.client}: the network was not cut, {', '.join(sorted(others))} answered meanwhile")


def _expect_local(evidence: Evidence, stream: Stream, phase: Phase, version: str) -> None:
    own = sorted(each.sent + each.seconds for each in stream.requests if each.version == version)
    times = [phase.acted, *(at for at in own if phase.acted < at < phase.mended), phase.mended]
    silence = max(later - earlier for earlier, later in pairwise(times))
    expect_within(
        evidence,
        f"longest time without an answer of {version}",
        silence,
        SILENCE_SECONDS,
        cluster=stream.client,
        field="during the cut",
    )
    sent = [each for each in stream.requests if phase.acted <= each.sent <= phase.mended]
    lost = [each for each in sent if not each.version]
    evidence.fact(f"{stream.client}: during the cut {len(sent) - len(lost)} of {len(sent)} requests were answered")


def _expect_recovery(evidence: Evidence, record: Scenario, after: str) -> None:
    for phase in phases(record):
        what = f"every version answers every client after {after}"
        expect_within(evidence, what, phase.whole - phase.mended, RECOVERY_SECONDS, cluster=phase.cluster)
