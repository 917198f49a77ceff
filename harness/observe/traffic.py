"""Sends the requests that show whether the clusters form one mesh: until it converges, for coverage, for shares."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from harness.base.waiting import pause
from harness.kube.api import KubeApi, TransportError
from harness.model import expectations, odds
from harness.model.clients import client_container, client_pods
from harness.model.cluster import ClusterObservation, Pod
from harness.model.observation import Asked
from harness.model.topology import Cluster, Topology
from harness.model.traffic import Convergence, Sequence
from harness.observe import envoy
from harness.observe.proxies import host_counters
from harness.observe.reading import explain
from harness.observe.sequence import SequencePlan, broken_off, command, requests, script, versions_seen

LOOP = 10
"""The chapter's `for i in {0..9}`."""
REQUEST_SECONDS = 5
SHORT_REQUEST_SECONDS = 2
CONVERGENCE_SECONDS = 60.0
QUIET_SECONDS = 8.0
"""With no new version and no new endpoint for this long, a mesh whose parts were all waited for does not heal."""
_PAUSE = 0.5
_CHUNK = 20
_EXEC_SECONDS = 600.0
_LITTLE_PATIENCE = 5
_MOST_ERRORS = 5


@dataclass(frozen=True)
class Client:
    """A ready client pod, and what it is to ask."""

    cluster: str
    kube: KubeApi
    namespace: str
    pod: str
    container: str
    url: str
    versions: tuple[str, ...]
    """Those that are asked for."""
    apart: tuple[frozenset[str], ...]
    """Of each of these one must answer: `expected.versions_apart`."""
    limit: int
    """Seconds for one request."""
    short_limit: int
    """The same where one that hangs is not judged, or is known to."""
    timeout: float
    """Seconds for one exec that asks its proxy."""
    request_id: str = ""
    """Header x-request-id of what is judged."""


@dataclass(frozen=True)
class Odds:
    """How many requests coverage takes, and how often it is wrong."""

    cap: int
    false_alarm: float
    shares: tuple[float, ...] = ()
    """What each cluster's version promises."""


def clients(
    topology: Topology,
    asked: Asked,
    observed: Mapping[str, ClusterObservation],
    kubes: Mapping[str, KubeApi],
    timeout_scale: float,
) -> tuple[Client, ...]:
    """The first ready client pod of each cluster that has one."""
    namespace = asked.sample_namespace

    def sent_from(cluster: Cluster, pod: Pod) -> Client:
        return Client(
            cluster=cluster.name,
            kube=kubes[cluster.name],
            namespace=namespace,
            pod=pod.name,
            container=client_container(pod),
            url=f"http://{expectations.HELLOWORLD}.{namespace}:{expectations.HELLOWORLD_PORT}/hello",
            versions=tuple(other.version for other in topology.clusters),
            apart=expectations.versions_apart(topology, cluster),
            limit=max(1, round(REQUEST_SECONDS * timeout_scale)),
            short_limit=max(1, round(SHORT_REQUEST_SECONDS * timeout_scale)),
            timeout=15 * timeout_scale,
        )

    pods = ((cluster, client_pods(observed[cluster.name], asked)) for cluster in topology.clusters)
    first = ((cluster, next((pod for pod in found if pod.ready), None)) for cluster, found in pods)
    return tuple(sent_from(cluster, pod) for cluster, pod in first if pod)


def coverage(topology: Topology, asked: Asked, observed: Mapping[str, ClusterObservation]) -> Odds:
    """The cap of coverage, from the shares that the ready pods of each version promise.

    istiod weights endpoints by pods (EP-WEIGHTS). A version without a ready pod counts as one.
    """
    pods = [
        max(1, len(expectations.helloworld_pods(observed[cluster.name], asked.sample_namespace)))
        for cluster in topology.clusters
    ]
    shares = tuple(count / sum(pods) for count in pods)
    cap = odds.coverage_cap(shares)
    return Odds(cap, odds.miss_probability(shares, cap), shares)


def converge(client: Client, began: float, timeout_scale: float) -> Convergence:
    """Send small sequences until every version has answered, time is up, or it is clear that it won't happen.

    Args:
        client: the pod that sends.
        began: since when it is timed: `time.monotonic()` of the moment when the workloads were ready.
        timeout_scale: factor for all times.
    """
    deadline = time.monotonic() + CONVERGENCE_SECONDS * timeout_scale
    quiet = QUIET_SECONDS * timeout_scale
    plan = SequencePlan(client.url, LOOP, client.versions, patience=_LITTLE_PATIENCE, limit=client.short_limit)
    first: dict[str, float] = {}
    errors = Counter[str]()
    sent, changed = 0, time.monotonic()
    endpoints: frozenset[tuple[str, int]] | None = None
    while True:
        now = time.monotonic()
        offset, left = now - began, max(1, round(min(deadline, changed + quiet) - now))
        try:
            answers = requests(_run(client, replace(plan, seconds=left)))
        except TransportError:
            break
        sent += len(answers)
        errors.update(answer.error or f"status {answer.status}" for answer in answers if not answer.version)
        for answer in answers:
            if answer.version and answer.version not in first:
                first[answer.version] = round(offset + answer.sent + answer.seconds, 3)
                changed = time.monotonic()
        now = time.monotonic()
        if expectations.all_answered(client.apart, first) or now > deadline or now - changed > quiet:
            break
        seen = _endpoints(client)
        if endpoints is not None and seen != endpoints:
            changed = now
        endpoints = seen
        # Nothing tells a client that a version became reachable: it has to ask again.
        pause(_PAUSE)
    converged = expectations.all_answered(client.apart, first)
    seconds = max(first.values()) if converged else round(time.monotonic() - began, 3)
    return Convergence(
        client=client.cluster,
        seconds=seconds,
        first_answer=first,
        converged=converged,
        requests=sent,
        errors=dict(errors.most_common(_MOST_ERRORS)),
    )


def cover(client: Client, cap: int, converged: bool) -> Sequence:
    """Up to `cap` requests, at least the chapter's ten, until every version has answered.

    Where it has not converged a request that hangs is not waited for as long: what is to be seen has been seen.
    """
    limit = client.limit if converged else client.short_limit
    return send(
        client, SequencePlan(client.url, cap, client.versions, least=LOOP, limit=limit, request_id=client.request_id)
    )


def distribute(client: Client, count: int, coverage: Sequence) -> Sequence | None:
    """A fixed number of requests for the shares; None where coverage has shown that not all of them answer."""
    if not expectations.all_answered(client.apart, versions_seen(coverage.requests)):
        return None
    plan = SequencePlan(client.url, count, limit=client.limit, chunk=_CHUNK, request_id=client.request_id)
    if broken_off(plan, coverage.requests):
        plan = replace(plan, patience=_LITTLE_PATIENCE)
    return send(client, plan)


def send(client: Client, plan: SequencePlan) -> Sequence:
    """Send a sequence in one exec, with the counters of the client's proxy before and after."""
    started = datetime.now(UTC)
    before = _counters(client)
    output, error = "", ""
    try:
        output = _run(client, plan)
    except TransportError as failed:
        error = explain(failed)
    after = _counters(client)
    found = requests(output)
    if not found and not error:
        error = "the pod sent no request: is curl there?"
    return Sequence(
        client=client.cluster,
        pod=client.pod,
        command=command(plan),
        started=started,
        requests=found,
        hosts=envoy.host_stats(before, after) if before is not None and after is not None else (),
        hosts_read=before is not None and after is not None,
        transport_error=error,
    )


def _run(client: Client, plan: SequencePlan) -> str:
    words = ("sh", "-c", script(plan))
    return client.kube.exec(client.namespace, client.pod, client.container, words, timeout=_EXEC_SECONDS).stdout


def _counters(client: Client) -> envoy.Counters | None:
    host, port = f"{expectations.HELLOWORLD}.{client.namespace}.svc.", expectations.HELLOWORLD_PORT
    return host_counters(client.kube, client.namespace, client.pod, port=port, service=host, timeout=client.timeout)


def _endpoints(client: Client) -> frozenset[tuple[str, int]]:
    return frozenset(_counters(client) or ())
