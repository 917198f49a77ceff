"""TR-REACH and TR-NO-ERRORS for a service of somebody's own: who answered is told by the client's proxy."""

from collections import Counter
from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.model import balancing, client_endpoints, odds, requested, service_choice, service_target
from harness.model.cluster import Subject
from harness.model.observation import Observation
from harness.model.service import OwnService, ServiceProtocol, ServiceSequence
from harness.model.topology import Cluster
from harness.model.traffic import HostStats

_SERVER_ERROR = 500


def judge_reach(observation: Observation, evidence: Evidence, service: OwnService) -> None:
    """Judge that the pods of every cluster that has some answered every client.

    Counters of the client's proxy hold the requests of all of its pod's callers. Where there are more than the suite
    sent, an endpoint counts only with more answers than the surplus. Hosts that gave only errors, which were sent again
    elsewhere, did not answer. Where a setting decides which endpoint is asked, one that is not asked is judged by what
    the proxy knows of it: it must be there, and healthy. Where nobody could send anything, that is said.
    """
    targets = _targets(observation, evidence, service)
    if _nobody_sent(observation):
        evidence.skipped(f"no request was sent to {service}")
    for client, sequence in _sequences(observation, evidence):
        if not sequence.hosts_read and observation.asked.ambient:
            evidence.skipped(
                f"{client.name}: the access log of the ztunnel does not tell where {sequence.pod} was led to"
            )
            continue
        if not sequence.hosts_read:
            evidence.unknown(f"{client.name}: the counters of {sequence.pod}'s proxy were not read")
            continue
        failed = any(request.error for request in sequence.requests)
        if sequence.foreign:
            evidence.fact(f"{client.name}: the proxy counted {sequence.foreign} requests beyond the suite's own")
        for target in targets:
            places = {address for address, _ in client_endpoints.every_address_of(observation, client, target)}
            mine = [host for host in sequence.hosts if host.address in places]
            # A status of 5xx counts as an error of the host, whoever gave it: it is the service's where no proxy did.
            answers = sum(h.requests - (h.errors if failed else 0) - h.connect_failures for h in mine)
            answers = 0 if _only_errors(sequence, mine) else answers
            if 0 < answers <= sequence.foreign:
                evidence.skipped(f"{client.name}: others' requests can't be told from those to {target.name}")
                continue
            if not answers and _judge_choice(observation, evidence, client, sequence, target=target, mine=mine):
                continue
            evidence.expect(
                answers > 0,
                cluster=client,
                object=f"Service {service.namespace}/{service.name} port {service.port}",
                field=f"answers of {target.name} to {sequence.pod}",
                expected=f"at least one in {len(sequence.requests)}",
                found=f"{answers} by {', '.join(f'{h.address}:{h.port}' for h in mine) or 'no endpoint'}",
            )


def _nobody_sent(observation: Observation) -> bool:
    """Whether on no cluster anything could send: no client pod, no sidecar in it, or no program."""
    sent = observation.service_traffic.sequences if observation.service_traffic else ()
    return bool(sent) and all(sequence.prevented for sequence in sent)


def _only_errors(sequence: ServiceSequence, hosts: list[HostStats]) -> bool:
    """Whether all that these hosts gave were errors that no client saw: they were sent again to others.

    A status of 5xx that a client saw may be the service's own answer.
    """
    asked, wrong = sum(host.requests for host in hosts), sum(host.errors for host in hosts)
    return 0 < asked <= wrong and not any(request.status >= _SERVER_ERROR for request in sequence.requests)


def _judge_choice(
    observation: Observation,
    evidence: Evidence,
    client: Cluster,
    sequence: ServiceSequence,
    *,
    target: Cluster,
    mine: list[HostStats],
) -> bool:
    """Judge endpoints that a setting keeps from being asked; False where none does, or where one of them was."""
    service = observation.asked.service
    if service is None or any(host.requests or host.connect_failures for host in mine):
        return False
    if not mine:
        why = service_choice.distributed(observation, client, service)
        if why:
            evidence.not_applicable(f"{client.name}: {why}: {target.name} may be given no share")
        return bool(why)
    waiting = service_choice.standing_by(sequence, mine)
    why = "stand by for failover" if waiting else service_choice.one_endpoint(observation, client, service)
    if not why and not any(request.error or request.status >= _SERVER_ERROR for request in sequence.requests):
        why = balancing.seldom_asked(observation, client, len(sequence.requests))
    if why:
        down = [f"{host.address}:{host.port}" for host in mine if host.healthy is False]
        evidence.expect(
            not down,
            cluster=client,
            object=f"Service {service.namespace}/{service.name} of {target.name}",
            field=f"endpoints that are not asked ({why})",
            expected="healthy",
            found=f"unhealthy: {', '.join(down)}" if down else ", ".join(f"{h.address}:{h.port} healthy" for h in mine),
        )
    return bool(why)


def judge_errors(observation: Observation, evidence: Evidence) -> None:
    """Judge the requests that the service itself did not answer, against the background rate of errors."""
    for client, sequence in _sequences(observation, evidence):
        errors = Counter(request.error for request in sequence.requests if request.error)
        tcp = observation.service_traffic and observation.service_traffic.protocol is ServiceProtocol.TCP
        if tcp and (lost := sum(host.connect_failures for host in sequence.hosts)):
            errors["connection to an endpoint failed"] += lost
        count, rate = len(sequence.requests), observation.asked.error_rate
        silent = count - errors.total() - sum(host.requests for host in sequence.hosts)
        elsewhere = balancing.sent_to_others(observation, client)
        if elsewhere and any(request.status and request.status < _SERVER_ERROR for request in sequence.requests):
            evidence.fact(f"{client.name}: {elsewhere}: its proxy counts requests there")
        elif not tcp and sequence.hosts_read and silent > 0:
            errors["no endpoint was asked: the client's proxy replied itself"] += silent
        budget = odds.error_budget(count, rate)
        told = "; ".join(f"{number} × {reason}" for reason, number in errors.most_common(3))
        statuses = Counter(request.status for request in sequence.requests if not request.error and request.status)
        answered = ", ".join(f"{number} × status {status}" for status, number in sorted(statuses.items()))
        evidence.expect(
            errors.total() <= budget,
            cluster=client,
            object=f"{count} requests to {observation.asked.service}",
            field="failed",
            expected=f"at most {budget}",
            found=f"{errors.total()}{f': {told}' if told else ''}{f' ({answered})' if answered else ''} "
            f"(at most {budget} are explained by a background rate of {rate:g})",
        )


def _targets(observation: Observation, evidence: Evidence, service: OwnService) -> list[Cluster]:
    """The clusters whose pods must answer; a workload of the service without a ready pod is a finding."""
    found, name = [], f"Service {service.namespace}/{service.name}"
    for cluster, observed in evidence.readable(observation, Subject.SERVICES, Subject.PODS, Subject.WORKLOADS):
        known = observed.service(service.namespace, service.name)
        if known is None:
            evidence.fact(f"{cluster.name}: there is no {name}")
        elif service.port not in {port.port for port in known.ports}:
            numbers = ", ".join(str(port.port) for port in known.ports) or "none"
            evidence.expect(
                False, cluster=cluster, object=name, field="ports", expected=f"{service.port} among them", found=numbers
            )
        elif requested.ready_pods(observed, observation.asked):
            found.append(cluster)
        elif behind := service_target.workloads(observed, service):
            for workload in behind:
                evidence.expect(
                    False,
                    cluster=cluster,
                    object=f"{workload.kind} {workload.namespace}/{workload.name}",
                    field="ready pods behind the service",
                    expected="at least 1",
                    found=f"{workload.ready} ({workload.desired} wanted)",
                )
        else:
            evidence.fact(f"{cluster.name}: no workload stands behind {name}")
    if not found and not evidence.findings and not evidence.reservations:
        evidence.expect(
            False, object=name, field="ready pods", expected="on one cluster at least", found="none on any cluster"
        )
    return found


def _sequences(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, ServiceSequence]]:
    """The requests of each client; with a reservation where none were sent."""
    sent = {s.client: s for s in observation.service_traffic.sequences} if observation.service_traffic else {}
    for client in observation.topology.clusters:
        sequence = sent.get(client.name)
        if sequence is None:
            evidence.unknown(f"{client.name}: no requests were sent")
        elif sequence.transport_error:
            evidence.unknown(f"{client.name}: the requests broke: {sequence.transport_error}")
        elif sequence.prevented:
            evidence.not_applicable(f"{client.name}: {sequence.prevented}")
        elif not sequence.requests:
            evidence.unknown(f"{client.name}: {sequence.program} sent no request")
        else:
            yield client, sequence
