"""Traffic: the chapter's loop, judged with known odds."""

from collections import Counter

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import balancing, expectations, odds
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import HostStats, Sequence
from suites.conformance import own_service
from suites.conformance.common import lost_clients, outcome, timed_out
from suites.conformance.sent import ended_early, good, latencies, leads_through, sequences, was_asked, ways_to

AREA = "traffic"
LOOP = 10
"""The chapter's `for i in {0..9}`."""
RARELY, ERROR_RATE = 10, 0.01
"""What power is stated against."""
FEW = 0.01
"""Share of attempts that an overloaded machine explains: connections that took longer than their deadline."""


@requirement("TR-REACH", Level.MUST, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_tr_reach(observation: Observation, evidence: Evidence) -> None:
    """Every version of helloworld answers every cluster's client; of clusters that share another network, one.

    This is the chapter's own proof that the clusters form one mesh. Ten requests miss one of two equal versions once in
    five hundred times, one of three once in twenty. So requests are sent until every version has answered, and a
    version is taken for unreachable at a number of requests at which a good mesh would miss one of them once in a
    million times: 21, 37, 53 for two, three, four clusters. The first ten of these are the chapter's loop. The gateways
    of another network pass the client's few connections through, so which of that network's versions answers is chosen
    once for a connection: where they are several, one that answers is enough, and the client's proxy must have
    endpoints of the others. Under verify-only a setting (failover by locality, weights and destinations of routes,
    consistent hashing) may keep a cluster from being asked: then its endpoints must be healthy, and a probe must have
    found the way to them open.

    Source: chapter, "Verify that you see responses from both clusters"; harness/model/odds.py, coverage_cap.
    """
    if observation.asked.service:
        own_service.judge_reach(observation, evidence, observation.asked.service)
        return
    shares = odds.equal_shares(len(observation.topology.clusters))
    for client, sent in sequences(observation, evidence, "coverage"):
        requests = [request for sequence in sent for request in sequence.requests]
        cap = max(odds.coverage_cap(shares), observation.traffic.cap if observation.traffic else 0)
        versions = [request.version if good(request) else "error" for request in requests]
        evidence.fact(f"{client.name}: the chapter's loop: {' '.join(versions[:LOOP])} ({_odds(observation, cap)})")
        for targets in expectations.spread_over(observation.topology, client):
            answered = [target for target in targets if target.version in versions]
            if answered:
                _judge_known(observation, evidence, client, targets)
            for target in answered:
                first = versions.index(target.version) + 1
                evidence.fact(
                    f"{client.name}: {target.version} of {target.name} answered, first at request {first} of at most "
                    f"{cap}"
                )
            if not answered and ended_early(observation, client):
                evidence.blocked("TR-NO-ERRORS", f"{client.name}: requests were broken off at {len(versions)} of {cap}")
            elif not answered and not _judge_unasked(observation, evidence, client, targets, sent):
                _judge_silent(observation, evidence, client, targets, versions=versions, cap=cap)


@requirement("TR-NO-ERRORS", Level.MUST, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_tr_no_errors(observation: Observation, evidence: Evidence) -> None:
    """No request from any client to helloworld failed.

    Examined is every request of TR-REACH and TR-DISTRIBUTION. None failed of n bounds the rate of errors: of 300, to
    at most 1 % with 95 % confidence. A mesh that carries traffic has errors of its own: on one that the suite did not
    install as many may fail as a background rate explains (--error-rate, by default 1e-3; a mesh with that rate fails
    once in ten thousand clients), and never so many that the requests were broken off. Errors before the clusters had
    converged are reported.

    Source: chapter, the loop; harness/model/odds.py, error_rate_bound and error_budget.
    """
    if observation.asked.service:
        own_service.judge_errors(observation, evidence)
        return
    for client, sent in sequences(observation, evidence, "coverage", "distribution"):
        _report_early_errors(observation, evidence, client)
        requests = [request for sequence in sent for request in sequence.requests]
        failed = [request for request in requests if not good(request)]
        reasons = Counter(request.error.strip()[:120] or f"status {request.status}" for request in failed)
        told = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
        budget, stated = 0, _power(len(requests))
        if observation.asked.mode == "verify-only":
            budget = odds.error_budget(len(requests), observation.asked.error_rate)
            stated = f"at most {budget} are explained by a background rate of {observation.asked.error_rate:g}"
        bound = odds.error_rate_bound(len(requests))
        evidence.expect(
            len(failed) <= budget and not ended_early(observation, client),
            cluster=client,
            object=f"{len(requests)} requests to helloworld",
            field="failed",
            expected=f"at most {budget}" if budget else 0,
            found=f"{len(failed)}: {told} ({stated})"
            if failed
            else f"0 (error rate at most {bound:.2%} with 95 % confidence; {stated})",
            timed=len(failed) <= budget + 1 or all("timed out" in request.error.lower() for request in failed),
        )


def _report_early_errors(observation: Observation, evidence: Evidence, client: Cluster) -> None:
    for timed in observation.traffic.convergence if observation.traffic else ():
        if timed.client == client.name and timed.errors:
            told = "; ".join(f"{count} × {reason}" for reason, count in timed.errors.items())
            evidence.fact(f"{client.name}: before the clusters had converged, of {timed.requests} requests: {told}")


@requirement("TR-NO-RETRIES", Level.SHOULD, area=AREA, needs=(MeshFeature.SIDECARS, MeshFeature.SAMPLE))
def test_tr_no_retries(observation: Observation, evidence: Evidence) -> None:
    """No request had to be sent again by the client's proxy.

    Istio retries a failed connection twice by default, on another endpoint: an endpoint that always fails costs time,
    and no request fails. Compared is, over each sequence, how many attempts the proxy counted at helloworld's endpoints
    with how many requests the client sent, and how many connections failed. On a mesh that the suite did not install as
    many may be sent again as a background rate of errors explains (--error-rate, as in TR-NO-ERRORS), as long as no
    endpoint only fails.

    Source: Istio, "Traffic management concepts", retries; Envoy, cluster statistics.
    """
    for client, sent in sequences(observation, evidence, "coverage", "distribution"):
        for sequence in sent:
            attempts, failed = _attempts(sequence), any(host.connect_failures for host in sequence.hosts)
            pod = next((pod for pod in observation[client].pods if pod.name == sequence.pod), None)
            if pod and not expectations.has_proxy(pod) and not sequence.hosts_read:
                evidence.blocked("WL-INJECTED", f"{client.name}: {sequence.pod} has no proxy to count attempts")
            elif not sequence.hosts_read:
                evidence.unknown(f"{client.name}: the counters of {sequence.pod}'s proxy were not read")
            elif not sequence.hosts:
                evidence.blocked("EP-COMPLETE", f"{client.name}: {sequence.pod}'s proxy has no endpoint of helloworld")
            elif attempts >= len(sequence.requests) or failed:
                _judge_attempts(observation, evidence, client, sequence)
            elif not all(good(request) for request in sequence.requests):
                evidence.blocked("TR-NO-ERRORS", f"{client.name}: requests failed before they were sent on")
            elif elsewhere := _counted_elsewhere(observation, client):
                evidence.not_applicable(f"{client.name}: {elsewhere}")
            else:
                count = len(sequence.requests)
                evidence.unknown(f"{client.name}: the proxy counted {attempts} attempts for {count} answered requests")


def _counted_elsewhere(observation: Observation, client: Cluster) -> str:
    """The owner's route by which a client's requests go to other services, in words: its proxy counts them there."""
    return balancing.sent_to_others(observation, client) if observation.asked.mode == "verify-only" else ""


def _attempts(sequence: Sequence) -> int:
    return sum(host.requests for host in sequence.hosts)


def _judge_attempts(observation: Observation, evidence: Evidence, client: Cluster, sequence: Sequence) -> None:
    """Judge that no request of a sequence was sent twice; on a mesh of others few are, but none that always is."""
    attempts, count, budget = _attempts(sequence), len(sequence.requests), 0
    failures = {f"{h.address}:{h.port}": h.connect_failures for h in sequence.hosts if h.connect_failures}
    if observation.asked.mode == "verify-only" and not any(map(_only_fails, sequence.hosts)):
        budget = odds.error_budget(count, observation.asked.error_rate)
    explained = f"; {budget} are explained by a background rate of {observation.asked.error_rate:g}" if budget else ""
    evidence.expect(
        attempts - count <= budget and sum(failures.values()) <= budget,
        cluster=client,
        object=f"proxy {observation.asked.sample_namespace}/{sequence.pod}",
        field="retries and failed connections",
        expected=f"{count} attempts for {count} requests, no failed connection{explained}",
        found=f"{attempts} attempts"
        + "".join(f", {count} failed connections to {host}" for host, count in failures.items())
        + f" ({_power(count)})",
        timed=attempts - count <= FEW * count and sum(failures.values()) <= FEW * count,
    )


def _only_fails(host: HostStats) -> bool:
    """Whether an endpoint failed more than once and never answered: no background of errors does that.

    Envoy counts a request that it could not send among `errors`, and not among `requests`.
    """
    return max(host.errors, host.connect_failures) > 1 and host.requests <= host.errors


@requirement("TR-LATENCY", Level.EXTENDED, area=AREA, needs=(MeshFeature.SAMPLE,))
def test_tr_latency(observation: Observation, evidence: Evidence) -> None:
    """Answer times of each client, from its own cluster and from the others: reported, never judged.

    Median and 95th percentile over all answered requests, by the version that answered.

    Source: chapter, the loop.
    """
    for latency in latencies(observation):
        where = "local" if latency.local else "cross-cluster"
        evidence.fact(
            f"{latency.client}: {latency.version} ({where}): p50 {latency.p50 * 1000:.1f} ms, "
            f"p95 {latency.p95 * 1000:.1f} ms, n={latency.requests}"
        )
    if lost := lost_clients(observation):
        evidence.unknown(f"the requests of {', '.join(lost)} were lost")
    elif not evidence.facts:
        evidence.skipped("no request was answered")


def _power(requests: int) -> str:
    seen = odds.seen_probability(requests, ERROR_RATE)
    return f"no false alarms; {ERROR_RATE:.0%} of requests failing would have been seen with probability {seen:.1%}"


def _odds(observation: Observation, cap: int) -> str:
    """How often TR-REACH is wrong: about a good mesh, and about one of which a version answers too rarely."""
    shares = odds.equal_shares(len(observation.topology.clusters))
    alarms = observation.traffic.false_alarm if observation.traffic else odds.miss_probability(shares, cap)
    rare = odds.seen_probability(cap, min(shares) / RARELY)
    return (
        f"false alarms {alarms:.2g} within {cap} requests; a version that never answers is always noticed, one with "
        f"1/{RARELY} of its share passes with probability {rare:.0%}"
    )


def _judge_known(observation: Observation, evidence: Evidence, client: Cluster, targets: tuple[Cluster, ...]) -> None:
    """Judge that a client's proxy has endpoints of every cluster of a network, of which one answered for all.

    A setting on somebody's mesh may leave one of them without a share.
    """
    setting = observation.asked.mode == "verify-only" and balancing.decided_otherwise(observation, client)
    for target in targets if len(targets) > 1 and not setting else ():
        if balancing.knows_endpoints(observation, client):
            known = balancing.endpoints_of(observation, client, target)
            evidence.expect(
                bool(known),
                cluster=client,
                object=f"helloworld of {target.name}",
                field="endpoints in the client's proxy",
                expected="at least one",
                found=", ".join(f"{e.address}:{e.port}" for e in known) or "none",
            )


def _judge_unasked(
    observation: Observation, evidence: Evidence, client: Cluster, targets: tuple[Cluster, ...], sent: list[Sequence]
) -> bool:
    """Judge the endpoints of clusters that a setting keeps from being asked; False where none does, or must not.

    That nobody asked them shows nothing of the way to them: a probe must have found it open.
    """
    if observation.asked.mode == "install":
        return False
    requests = [request for sequence in sent for request in sequence.requests]
    count, failed = len(requests), not all(map(good, requests))
    found = {each: balancing.not_asked(observation, client, each, count, failed=failed) for each in targets}
    if not all(endpoints and not was_asked(sent, endpoints) for _, endpoints in found.values()):
        return False
    for target, (why, endpoints) in found.items():
        down = [f"{e.address}:{e.port} {', '.join(e.flags)}" for e in endpoints if not e.healthy]
        ways = ways_to(observation, client, endpoints)
        shut = [probe for probe in ways if not leads_through(probe)] if not any(map(leads_through, ways)) else []
        evidence.expect(
            not (down or shut),
            cluster=client,
            object=f"helloworld of {target.name}",
            field=f"endpoints that are not asked ({why})",
            expected="healthy, and the way to them open",
            found=", ".join((*down, *(f"{p.address}:{p.port} {outcome(p)}" for p in shut)))
            or ", ".join(f"{e.address}:{e.port} healthy" for e in endpoints),
            timed=not down and all(map(timed_out, shut)),
        )
        if not ways:
            evidence.skipped(f"{client.name}: {target.name} is not asked ({why}), and the way to it could not be tried")
    return True


def _judge_silent(
    observation: Observation,
    evidence: Evidence,
    client: Cluster,
    targets: tuple[Cluster, ...],
    *,
    versions: list[str],
    cap: int,
) -> None:
    """Judge that none of these clusters' versions answered a client."""
    namespace, names = observation.asked.sample_namespace, " or ".join(target.version for target in targets)
    absent = []
    for target in targets:
        workload = observation[target].workload(namespace, f"{expectations.HELLOWORLD}-{target.version}")
        if observation[target].workloads and (workload is None or not workload.available):
            absent.append(f"{target.version} is not available on {target.name}")
    if len(absent) == len(targets):
        evidence.blocked("WL-PLACED", "; ".join(absent))
    elif len(versions) < cap and "error" not in versions:
        evidence.unknown(f"{client.name}: {names} had not answered when the sequence ended at {len(versions)} of {cap}")
    else:
        counted = ", ".join(f"{count} × {name}" for name, count in Counter(versions).most_common())
        evidence.expect(
            False,
            cluster=client,
            object=f"helloworld {names} of {' or '.join(target.name for target in targets)}",
            field=f"answers to {client.name}'s client",
            expected=f"at least one in {cap}",
            found=f"none in {len(versions)} ({counted})",
        )
