"""The requests that clients sent, as the requirements on traffic look at them."""

from collections.abc import Iterable, Iterator

from harness.judge.evidence import Evidence
from harness.model import balancing, expectations, odds
from harness.model.observation import Observation
from harness.model.proxy import ProxyEndpoint
from harness.model.topology import Cluster
from harness.model.traffic import Latency, Probe, ProbeKind, ProbeResult, Request, Sequence, Traffic
from suites.conformance.common import answered, missing

OK = 200


def good(request: Request) -> bool:
    """Whether a version of helloworld answered."""
    return request.status == OK and bool(request.version) and not request.error


def was_asked(sent: Iterable[Sequence], endpoints: Iterable[ProxyEndpoint]) -> bool:
    """Whether a client's proxy sent one of the requests to one of these endpoints, or tried to connect to it."""
    places = {(endpoint.address, endpoint.port) for endpoint in endpoints}
    hosts = (host for sequence in sent for host in sequence.hosts if (host.address, host.port) in places)
    return any(host.requests or host.connect_failures for host in hosts)


def ways_to(observation: Observation, client: Cluster, endpoints: Iterable[ProxyEndpoint]) -> list[Probe]:
    """The probes that tried, from a client's pod, the way that its requests would take to these endpoints."""
    places = {(endpoint.address, endpoint.port) for endpoint in endpoints}
    return [
        probe
        for probe in observation.probes
        if probe.source == client.name
        and (probe.address, probe.port) in places
        and probe.kind in {ProbeKind.TLS, ProbeKind.POD_ROUTE}
        and probe.result not in {ProbeResult.NO_TOOL, ProbeResult.TRANSPORT}
    ]


def leads_through(probe: Probe) -> bool:
    """Whether a probe of `ways_to` met its destination: a certificate behind a gateway, or an answer of a pod."""
    return bool(probe.certificates) or (probe.kind is ProbeKind.POD_ROUTE and answered(probe))


def sequences(
    observation: Observation, evidence: Evidence, *kinds: str, among: tuple[Cluster, ...] | None = None
) -> Iterator[tuple[Cluster, list[Sequence]]]:
    """The sequences of each client; unknown where one broke or is empty, blocked where there is no client.

    Args:
        observation: the run.
        evidence: where the reservations are noted.
        kinds: coverage, distribution.
        among: the clients to consider; default all.
    """
    for client in observation.topology.clusters if among is None else among:
        sent: list[Sequence] = []
        for kind in kinds:
            mine = [s for s in getattr(observation.traffic, kind, ()) if s.client == client.name]
            if not mine and kind == "distribution" and unasked(observation, client):
                evidence.fact(f"{client.name}: no more requests were sent: a setting keeps a cluster from being asked")
            elif not mine and kind == "distribution" and _broken_off(observation, client):
                evidence.blocked("TR-REACH", f"{client.name} did not reach every version")
            elif not mine:
                missing(observation, evidence, client, f"the {kind} sequence")
            sent += mine
        broken = [s.transport_error or "no request in it" for s in sent if s.transport_error or not s.requests]
        for reason in broken:
            evidence.unknown(f"{client.name}: a sequence broke: {reason}")
        if whole := [s for s in sent if s.requests and not s.transport_error]:
            yield client, whole


def _coverage(observation: Observation) -> tuple[Sequence, ...]:
    return observation.traffic.coverage if observation.traffic else ()


def _broken_off(observation: Observation, client: Cluster) -> bool:
    """Whether the client's coverage failed, so that nothing more was sent."""
    sent = [request for s in _coverage(observation) if s.client == client.name for request in s.requests]
    apart = expectations.versions_apart(observation.topology, client)
    return bool(sent) and not expectations.all_answered(apart, {r.version for r in sent if good(r)})


def unasked(observation: Observation, client: Cluster) -> bool:
    """Whether a setting explains each version that did not answer a client; not if all answered.

    Only on a mesh that the suite did not install: there failover by locality, weights of routes and consistent hashing
    are the owner's settings.
    """
    if observation.asked.mode == "install" or not _broken_off(observation, client):
        return False
    sent = [r for s in _coverage(observation) if s.client == client.name for r in s.requests]
    seen, failed = {r.version for r in sent if good(r)}, not all(map(good, sent))
    silent = [t for t in expectations.spread_over(observation.topology, client) if not {c.version for c in t} & seen]
    return all(
        balancing.not_asked(observation, client, target, len(sent), failed=failed)[1]
        for targets in silent
        for target in targets
    )


def ended_early(observation: Observation, client: Cluster) -> bool:
    """Whether a client's coverage ended before its number of requests because too many failed.

    Only on a mesh that the suite did not install. An installed one is judged by what was seen until then.
    """
    if observation.asked.mode == "install" or not _broken_off(observation, client) or observation.traffic is None:
        return False
    sent = [r for s in observation.traffic.coverage if s.client == client.name for r in s.requests]
    return len(sent) < observation.traffic.cap and not all(map(good, sent))


def latencies(observation: Observation) -> tuple[Latency, ...]:
    """Answer times by client and version, from all sequences."""
    traffic = observation.traffic or Traffic(cap=0, false_alarm=0)
    sent = traffic.coverage + traffic.distribution
    found = []
    for client in observation.topology.clusters:
        requests = [r for s in sent if s.client == client.name for r in s.requests if good(r)]
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
