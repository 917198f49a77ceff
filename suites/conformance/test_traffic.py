"""Traffic: the chapter's loop, judged with known odds."""

from collections import Counter
from collections.abc import Iterator, Mapping

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import balancing, expectations, odds
from harness.model.cluster import Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Latency, Request, Sequence, Traffic
from suites.conformance.common import lost_clients, missing

AREA = "traffic"
OK = 200
LOOP = 10
"""The chapter's `for i in {0..9}`."""
RARELY, ERROR_RATE = 10, 0.01
"""What power is stated against."""
ENOUGH_POWER = 0.5
"""With less, a comparison of shares that finds nothing says nothing."""


@requirement("TR-REACH", Level.MUST, area=AREA)
def test_tr_reach(observation: Observation, evidence: Evidence) -> None:
    """Every version of helloworld answers every cluster's client; of clusters that share another network, one.

    This is the chapter's own proof that the clusters form one mesh. Ten requests miss one of two equal versions once in
    five hundred times, one of three once in twenty. So requests are sent until every version has answered, and a
    version is taken for unreachable at a number of requests at which a good mesh would miss one of them once in a
    million times: 21, 37, 53 for two, three, four clusters. The first ten of these are the chapter's loop. The gateways
    of another network pass the client's few connections through, so which of that network's versions answers is chosen
    once for a connection: where they are several, one that answers is enough, and the others are reported.

    Source: chapter, "Verify that you see responses from both clusters"; harness/model/odds.py, coverage_cap.
    """
    shares = odds.equal_shares(len(observation.topology.clusters))
    for client, sequences in _sequences(observation, evidence, "coverage"):
        requests = [request for sequence in sequences for request in sequence.requests]
        cap = max(odds.coverage_cap(shares), observation.traffic.cap if observation.traffic else 0)
        versions = [request.version if _good(request) else "error" for request in requests]
        evidence.fact(f"{client.name}: the chapter's loop: {' '.join(versions[:LOOP])} ({_odds(observation, cap)})")
        for targets in expectations.spread_over(observation.topology, client):
            answered = [target for target in targets if target.version in versions]
            for target in answered:
                first = versions.index(target.version) + 1
                evidence.fact(
                    f"{client.name}: {target.version} of {target.name} answered, first at request {first} of at most "
                    f"{cap}"
                )
            if not answered:
                _judge_silent(observation, evidence, client, targets, versions=versions, cap=cap)


@requirement("TR-NO-ERRORS", Level.MUST, area=AREA)
def test_tr_no_errors(observation: Observation, evidence: Evidence) -> None:
    """No request from any client to helloworld failed.

    Examined is every request of TR-REACH and TR-DISTRIBUTION. None failed of n bounds the rate of errors: of 300, to
    at most 1 % with 95 % confidence.

    Source: chapter, the loop; harness/model/odds.py, error_rate_bound.
    """
    for client, sequences in _sequences(observation, evidence, "coverage", "distribution"):
        requests = [request for sequence in sequences for request in sequence.requests]
        failed = [request for request in requests if not _good(request)]
        reasons = Counter(request.error.strip()[:120] or f"status {request.status}" for request in failed)
        bound = odds.error_rate_bound(len(requests))
        evidence.expect(
            not failed,
            cluster=client,
            object=f"{len(requests)} requests to helloworld",
            field="failed",
            expected=0,
            found=f"{len(failed)}: {'; '.join(f'{count} × {reason}' for reason, count in reasons.most_common(3))}"
            if failed
            else f"0 (error rate at most {bound:.2%} with 95 % confidence; {_power(len(requests))})",
        )


@requirement("TR-NO-RETRIES", Level.SHOULD, area=AREA)
def test_tr_no_retries(observation: Observation, evidence: Evidence) -> None:
    """No request had to be sent again by the client's proxy.

    Istio retries a failed connection twice by default, on another endpoint: an endpoint that always fails costs time,
    and no request fails. Compared is, over each sequence, how many attempts the proxy counted at helloworld's endpoints
    with how many requests the client sent, and how many connections failed.

    Source: Istio, "Traffic management concepts", retries; Envoy, cluster statistics.
    """
    for client, sequences in _sequences(observation, evidence, "coverage", "distribution"):
        for sequence in sequences:
            attempts, sent = sum(host.requests for host in sequence.hosts), len(sequence.requests)
            failures = {f"{h.address}:{h.port}": h.connect_failures for h in sequence.hosts if h.connect_failures}
            pod = next((pod for pod in observation[client].pods if pod.name == sequence.pod), None)
            if pod and not expectations.has_proxy(pod) and not sequence.hosts_read:
                evidence.blocked("WL-INJECTED", f"{client.name}: {sequence.pod} has no proxy to count attempts")
            elif not sequence.hosts_read:
                evidence.unknown(f"{client.name}: the counters of {sequence.pod}'s proxy were not read")
            elif not sequence.hosts:
                evidence.blocked("EP-COMPLETE", f"{client.name}: {sequence.pod}'s proxy has no endpoint of helloworld")
            elif attempts < sent and not failures:
                if all(_good(request) for request in sequence.requests):
                    evidence.unknown(
                        f"{client.name}: the proxy counted {attempts} attempts for {sent} answered requests"
                    )
                else:
                    evidence.blocked("TR-NO-ERRORS", f"{client.name}: requests failed before they were sent on")
            else:
                evidence.expect(
                    attempts <= sent and not failures,
                    cluster=client,
                    object=f"proxy {observation.asked.sample_namespace}/{sequence.pod}",
                    field="retries and failed connections",
                    expected=f"{sent} attempts for {sent} requests, no failed connection",
                    found=f"{attempts} attempts"
                    + "".join(f", {count} failed connections to {host}" for host, count in failures.items())
                    + f" ({_power(sent)})",
                )


@requirement("TR-DISTRIBUTION", Level.EXTENDED, area=AREA)
def test_tr_distribution(observation: Observation, evidence: Evidence) -> None:
    """The versions' shares of the answers match the weights of the endpoints in the client's proxy.

    Equal shares are not what Istio promises: the weights are. Answers are counted over a fixed number of requests on
    fresh connections and compared with the weights by the exact binomial test, for more than two versions each against
    the rest with Bonferroni's correction. A good mesh fails this requirement once in ten thousand runs, all clients
    together; stated are n, p, and how likely the weakest version's odds being halved would have been seen. Where that
    is less likely than not, nothing is judged. Versions of clusters that share another network count together: which of
    them answers is chosen once for a connection of the client's proxy, not for each request.

    Source: Istio, "Deployment models"; harness/model/odds.py, compare_shares.
    """
    clients = len(observation.topology.clusters)
    for client, sequences in _sequences(observation, evidence, "distribution"):
        label = {
            target.version: " or ".join(each.version for each in targets)
            for targets in expectations.spread_over(observation.topology, client)
            for target in targets
        }
        promised = _promised_shares(observation, evidence, client, label)
        answers = (request.version for s in sequences for request in s.requests if _good(request))
        counts = Counter(label.get(version, version) for version in answers)
        if not promised:
            continue
        if not counts:
            evidence.blocked("TR-NO-ERRORS", f"no request of {client.name} was answered")
            continue
        test = odds.compare_shares(counts, promised, odds.DISTRIBUTION_FALSE_ALARM / clients)
        stated = (
            f"n={test.trials}, p={test.p_value:.2g}, false alarms {test.false_alarm:.2g}, power {test.power:.1%} "
            "against halved odds"
        )
        if test.matches and test.power < ENOUGH_POWER:
            evidence.skipped(f"{client.name}: too few requests to tell ({stated})")
            continue
        evidence.expect(
            test.matches,
            cluster=client,
            object="answers of helloworld",
            field="shares of versions",
            expected=", ".join(f"{version} {share:.1%}" for version, share in sorted(promised.items())),
            found=", ".join(f"{version} {counts[version]}" for version in sorted({*counts, *promised}))
            + f" ({stated})",
        )


@requirement("TR-LATENCY", Level.EXTENDED, area=AREA)
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


def latencies(observation: Observation) -> tuple[Latency, ...]:
    """Answer times by client and version, from all sequences."""
    traffic = observation.traffic or Traffic(cap=0, false_alarm=0)
    sequences = traffic.coverage + traffic.distribution
    found = []
    for client in observation.topology.clusters:
        requests = [r for s in sequences if s.client == client.name for r in s.requests if _good(r)]
        for version in sorted({request.version for request in requests}):
            seconds = [request.seconds for request in requests if request.version == version]
            found.append(
                Latency(
                    client=client.name,
                    version=version,
                    local=version == client.version,
                    p50=odds.percentile(seconds, 0.5),
                    p95=odds.percentile(seconds, 0.95),
                    requests=len(seconds),
                )
            )
    return tuple(found)


def _good(request: Request) -> bool:
    return request.status == OK and bool(request.version) and not request.error


def _sequences(observation: Observation, evidence: Evidence, *kinds: str) -> Iterator[tuple[Cluster, list[Sequence]]]:
    """The sequences of each client; unknown where one broke or is empty, blocked where there is no client."""
    for client in observation.topology.clusters:
        sent: list[Sequence] = []
        for kind in kinds:
            mine = [s for s in getattr(observation.traffic, kind, ()) if s.client == client.name]
            if not mine:
                if kind == "distribution" and _broken_off(observation, client):
                    evidence.blocked("TR-REACH", f"{client.name} did not reach every version")
                else:
                    missing(observation, evidence, client, f"the {kind} sequence")
            sent += mine
        broken = [s.transport_error or "no request in it" for s in sent if s.transport_error or not s.requests]
        for reason in broken:
            evidence.unknown(f"{client.name}: a sequence broke: {reason}")
        if whole := [s for s in sent if s.requests and not s.transport_error]:
            yield client, whole


def _broken_off(observation: Observation, client: Cluster) -> bool:
    """Whether the client's coverage failed, so that nothing more was sent."""
    coverage = observation.traffic.coverage if observation.traffic else ()
    seen = {r.version for s in coverage if s.client == client.name for r in s.requests if _good(r)}
    sent = any(s.requests for s in coverage if s.client == client.name)
    return sent and not expectations.all_answered(expectations.versions_apart(observation.topology, client), seen)


def _odds(observation: Observation, cap: int) -> str:
    """How often TR-REACH is wrong: about a good mesh, and about one of which a version answers too rarely."""
    shares = odds.equal_shares(len(observation.topology.clusters))
    alarms = observation.traffic.false_alarm if observation.traffic else odds.miss_probability(shares, cap)
    rare = odds.seen_probability(cap, min(shares) / RARELY)
    return (
        f"false alarms {alarms:.2g} within {cap} requests; a version that never answers is always noticed, one with "
        f"1/{RARELY} of its share passes with probability {rare:.0%}"
    )


def _power(requests: int) -> str:
    seen = odds.seen_probability(requests, ERROR_RATE)
    return f"no false alarms; {ERROR_RATE:.0%} of requests failing would have been seen with probability {seen:.1%}"


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


def _promised_shares(
    observation: Observation, evidence: Evidence, client: Cluster, label: Mapping[str, str]
) -> dict[str, float]:
    """Each label's share by the weights of the healthy endpoints in the client's proxies; `label` is by version."""
    weights: Counter[str] = Counter()
    for _ in evidence.readable(observation, Subject.PROXIES, among=(client,)):
        for version, weight in balancing.promised_weights(observation, client).items():
            weights[label[version]] += weight
    whole = sum(weights.values())
    if not whole:
        evidence.blocked("EP-COMPLETE", f"the endpoints of {client.name}'s client can't be told by cluster")
        return {}
    return {name: weight / whole for name, weight in weights.items()}
