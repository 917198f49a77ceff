"""What experiments sent and what came back, as requirements judge it."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from harness.judge.evidence import Evidence
from harness.model.experiment import Exchange, Experiments
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult
from suites.conformance.common import lost_clients

Seen = TypeVar("Seen")


def made(
    observation: Observation, evidence: Evidence, name: str, which: Callable[[Experiments], Seen | None]
) -> Iterator[Seen]:
    """What an experiment saw; with a reservation, nothing where it was not made."""
    experiments = observation.experiments
    if experiments is None:
        verify = observation.asked.mode == "verify-only"
        looks = "verify-only changes nothing; with --deploy-sample the experiments are made in a namespace of their own"
        evidence.skipped(looks if verify else "the run made no experiments")
        return
    seen = which(experiments)
    if seen is not None:
        yield seen
    elif name in experiments.errors:
        evidence.unknown(experiments.errors[name])
    elif name in experiments.prevented:
        by, _, reason = experiments.prevented[name].partition(": ")
        if by == "TR-REACH" and (lost := lost_clients(observation)):
            evidence.unknown(f"not made: the requests of {', '.join(lost)} were lost")
            return
        evidence.blocked(by, reason)
    elif name == "IDEMPOTENT" and observation.asked.mode == "verify-only":
        evidence.skipped("the suite did not install this mesh, and does not run the procedure on it")
    else:
        evidence.skipped("the run left this experiment out")


def pairs(observation: Observation) -> list[tuple[Cluster, Cluster]]:
    """Every cluster with every other one: who sent, and who was to answer."""
    return [
        (source, target) for source in observation.topology.clusters for target in observation.topology.others(source)
    ]


def between(
    evidence: Evidence, exchanges: Iterable[Exchange], source: Cluster, target: Cluster | None
) -> Iterator[Exchange]:
    """The requests of one cluster to another one, or to all; unknown where there are none or they were not sent."""
    name = target.name if target else ""
    found = [exchange for exchange in exchanges if (exchange.source, exchange.target) == (source.name, name)]
    if not found:
        evidence.unknown(f"{source.name} → {name or 'all clusters'}: nothing was sent")
    yield from (exchange for exchange in found if sent(evidence, exchange))


def sent(evidence: Evidence, exchange: Exchange) -> bool:
    """Whether requests were sent; with a reservation where they were not."""
    what = f"{exchange.source} → {exchange.url}"
    if exchange.result is ProbeResult.TRANSPORT:
        evidence.unknown(f"{what} could not be sent: {exchange.detail}")
    elif exchange.result is ProbeResult.NO_TOOL:
        evidence.skipped(f"{what}: the pod has no program to send it with")
    return exchange.result not in {ProbeResult.TRANSPORT, ProbeResult.NO_TOOL}


def expect_answer(evidence: Evidence, exchange: Exchange, answers: dict[str, int] | None) -> None:
    """Every request was answered; by those versions, so often."""
    holds = exchange.result is ProbeResult.ANSWERED and answers in (None, exchange.answers)
    by = f" by {', '.join(answers)}" if answers else ""
    expect(evidence, exchange, holds, f"{exchange.sent} requests", f"each answered{by}")


def expect(evidence: Evidence, exchange: Exchange, holds: bool, field: str, expected: str) -> None:
    """Whether requests came to what they must; what they came to is said `in_words`."""
    evidence.expect(
        holds,
        cluster=exchange.source,
        object=f"{exchange.pod} → {exchange.url}",
        field=field,
        expected=expected,
        found=in_words(exchange),
        timed=exchange.result is ProbeResult.TIMEOUT,
    )


def in_words(exchange: Exchange) -> str:
    """What requests came to, in words."""
    status = f" with status {exchange.status}" if exchange.status else ""
    answers = "".join(f", {count} × {version}" for version, count in exchange.answers.items())
    returned = f", {exchange.returned} bytes" if exchange.returned else ""
    return f"{exchange.result}{status}{answers}{returned}" + (f": {exchange.detail}" if exchange.detail else "")
