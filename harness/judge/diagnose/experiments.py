"""Causes that only experiments show: other protocols, policies that do not hold, a procedure that is not idempotent."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.judge.diagnose.facts import few
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import expectations
from harness.model.experiment import ECHO, GRPC_PORT, PAYLOAD_BYTES, TCP_PORT, Exchange, Experiments
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult

OK = 200
NOT_SENT = frozenset({ProbeResult.TRANSPORT, ProbeResult.NO_TOOL})


def _experiments(observation: Observation) -> Experiments:
    return observation.experiments or Experiments()


def _told(exchanges: Iterable[Exchange]) -> Iterator[str]:
    for exchange in exchanges:
        answers = ", ".join(f"{version} {count}" for version, count in sorted(exchange.answers.items()))
        yield (
            f"{exchange.source} {exchange.pod} ({exchange.account}) → {exchange.url} {exchange.target}: "
            f"{exchange.result} {exchange.status or ''} {exchange.detail} {answers}"
        )


def _port(observation: Observation, exchange: Exchange, service: str, port: int, protocol: str) -> Found:
    """A port of the echo server that is not served as its protocol asks for.

    The server's Services are the experiment's own and are gone by now: what is to be mended is what meddled with them.
    """
    sample = observation.asked.sample_namespace
    observed = observation[exchange.target or exchange.source]
    return Found(
        cluster=observed.name,
        object=f"Service {sample}/{service}",
        field=f"port {port}",
        expected=f"{protocol}, and answers from every cluster",
        found=f"{exchange.result} {exchange.detail}".strip(),
        repair=noted(
            kubectl(observed, "get mutatingwebhookconfigurations,envoyfilters --all-namespaces"),
            f"what gives a Service's port another name or appProtocol, or looks into {protocol} on its way?",
        ),
        change=f"Find what looks into {protocol} between the clusters, or renames ports of Services: a webhook, an "
        "EnvoyFilter, a firewall; and change that",
    )


@cause("tcp-broken", Layer.TRAFFIC, "TR-TCP", effect=True)
def tcp_broken(observation: Observation) -> Iterator[Found]:
    """A plain TCP service does not answer across clusters, though HTTP does.

    Istio takes a port's protocol from its name. A TCP port that is named http is parsed as HTTP, and what is none is
    refused; a filter between the clusters that looks into connections does the same.
    """
    silent = [e for e in _experiments(observation).tcp or () if e.result not in {ProbeResult.ANSWERED, *NOT_SENT}]
    for exchange in silent[:1]:
        service = f"{ECHO}-{observation.topology[exchange.target].version}"
        yield replace(_port(observation, exchange, service, TCP_PORT, "tcp"), evidence=few(_told(silent)))


@cause("payload-lost", Layer.TRAFFIC, "TR-PAYLOAD", effect=True, fallback=True)
def payload_lost(observation: Observation) -> Iterator[Found]:
    """What is longer than a few packets is lost between two clusters.

    Connections are made and short messages answered; a message of 64 KiB does not come back. Mostly packets of full
    size are dropped: a tunnel or VPN between the clusters takes smaller ones, and the ICMP message that says so is
    filtered. Or something on the way holds, inspects or limits what passes.
    """
    lost = [
        exchange
        for exchange in _experiments(observation).payload or ()
        if exchange.result not in NOT_SENT
        and (exchange.result is not ProbeResult.ANSWERED or exchange.returned < PAYLOAD_BYTES)
    ]
    for exchange in lost[:1]:
        observed = observation[exchange.source]
        yield Found(
            cluster=exchange.source,
            object=f"way to {exchange.target}",
            field="64 KiB over one connection",
            expected="sent back whole",
            found=f"{exchange.result} {exchange.detail}".strip()
            if not exchange.returned
            else f"{exchange.returned} bytes",
            repair=noted(
                kubectl(observed, "get nodes -o wide"),
                f"compare the MTU of its nodes and pods with that of the way to {exchange.target}: "
                "ping -M do -s 1472 from a node tells whether full packets pass",
            ),
            change=f"Give the pods of {exchange.source} and {exchange.target} an MTU that the way between them takes, "
            "or let ICMP type 3 code 4 pass; and look for what limits or inspects connections there",
            evidence=few(_told(lost)),
        )


@cause("grpc-broken", Layer.TRAFFIC, "TR-GRPC", effect=True)
def grpc_broken(observation: Observation) -> Iterator[Found]:
    """GRPC calls are not answered, or stick to one connection.

    Calls of one connection are only spread over clusters where Envoy knows that it is HTTP/2: the port must be named
    grpc. As tcp the whole connection goes to one endpoint.
    """
    stuck = [
        exchange
        for exchange in _experiments(observation).grpc or ()
        if exchange.result not in NOT_SENT
        and (exchange.result is not ProbeResult.ANSWERED or (not exchange.target and _sticks(observation, exchange)))
    ]
    for exchange in stuck[:1]:
        yield replace(_port(observation, exchange, ECHO, GRPC_PORT, "grpc"), evidence=few(_told(stuck)))


def _sticks(observation: Observation, exchange: Exchange) -> bool:
    """Whether calls of one connection went to fewer places than the client's proxy chooses among."""
    groups = expectations.spread_over(observation.topology, observation.topology[exchange.source])
    return any(not any(exchange.answers.get(cluster.version) for cluster in group) for group in groups)


@cause("authz-missing", Layer.POLICIES, "AUTHZ-IDENTITY", breaks=None)
def authz_missing(observation: Observation) -> Iterator[Found]:
    """An AuthorizationPolicy is not there where its destination is read from.

    A destination's proxy is configured by its own cluster's control plane from that one's API server: a policy that
    stands on another primary does not reach it. In a primary-remote mesh that is the primary, never the remote.
    """
    seen = _experiments(observation).authorization
    if seen is None:
        return
    open_ones = [e for e in seen.exchanges if e.account == seen.denied and e.status == OK]
    lacking = [c for c in observation.topology.primaries if c.name not in seen.policy.clusters]
    names = {c.name for c in lacking} | {observation.topology[e.target].primary for e in open_ones if e.target}
    for name in sorted(names):
        observed, policy = observation[name], seen.policy
        yield Found(
            cluster=name,
            object=f"{policy.kind} {policy.namespace}/{policy.name}",
            field="exists",
            expected="on every cluster with a control plane",
            found=f"only on {', '.join(policy.clusters) or 'none'}" if lacking else "not in force at the destination",
            repair=noted(
                kubectl(observed, "-n", policy.namespace, "get authorizationpolicies"),
                "the experiment has withdrawn its own; what deletes policies here, or keeps istiod from reading them?",
            ),
            change=f"Let AuthorizationPolicies of {policy.namespace} stay on {name}: something deletes them, or they "
            "are applied elsewhere only",
            evidence=few(_told(open_ones), policy.pending),
        )


@cause("not-idempotent", Layer.RUN, "IDEMPOTENT", breaks=None)
def not_idempotent(observation: Observation) -> Iterator[Found]:
    """Running the procedure again changes what it made the first time.

    A second run that makes a new CA takes every workload's identity away; steps must get or create, as the chapter's
    `get || create` does.
    """
    seen = _experiments(observation).rerun
    if seen is None:
        return
    for cluster in observation.topology.clusters:
        name, system = cluster.name, observation.asked.system_namespace
        before, after = seen.certificates_before.get(name, {}), seen.certificates_after.get(name, {})
        renewed = [where for where in sorted({*before, *after}) if before.get(where) != after.get(where)]
        changes = [change for change in seen.changes if change.cluster == name]
        if not renewed and not changes:
            continue
        told = (f"{c.kind} {c.namespace}/{c.name} {c.change}: {', '.join(c.fields)}" for c in changes)
        what = (f"Secret {system}/cacerts", ", ".join(renewed), "another certificate after the second run")
        if not renewed:
            first = changes[0]
            what = (f"{first.kind} {first.namespace}/{first.name}", ", ".join(first.fields) or "object", first.change)
        yield Found(
            cluster=name,
            object=what[0],
            field=what[1],
            expected="as the first run made it",
            found=what[2],
            repair=noted(
                kubectl(observation[observation.topology.home_of(cluster)], "-n", system, "get secret cacerts"),
                "tells whether it is there: create it only where it is not",
            ),
            evidence=few(told, seen.failed_steps),
        )
