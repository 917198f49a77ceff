"""What the requirements of scenarios have in common: the recording, its phases, its failed requests, a budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.judge.evidence import Evidence
from harness.model.observation import Observation
from harness.model.resilience import ACTED, FAILED, MENDED, WHOLE, Moment, Scenario, Stream
from harness.model.traffic import Request

MOST_SHOWN = 6
LONGEST_SILENCE = 8.0
"""Seconds in which a client may send nothing because its own pod is replaced."""
LEAST_SENT = 0.5
"""Share of the rate below which nothing is judged: at half of it a gap of a second still costs two requests."""


@dataclass(frozen=True)
class Phase:
    """What was changed, and when it was over. Seconds since the scenario's first request."""

    cluster: str
    """Empty where it concerned all of them."""
    acted: float
    mended: float
    whole: float


GATEWAY_BUDGET = 3
"""Requests that may fail, for each client and each gateway: a connection that ends takes with it what is under way on
it, which at 5 requests a second that are answered within milliseconds is one at a time, on few connections."""
ENDING_BUDGET = 3
"""Requests that may fail, for each client and each pod of helloworld that ends. Kubernetes tells a pod to end when it
begins to withdraw its endpoints ("Pod Lifecycle", termination): for up to a second requests meet an application that
listens no more. Its sidecar answers 503, which Istio has not retried since 1.24 (issue 50506). Of 5 requests a second,
every second one of which goes there, that is 3."""


def played(observation: Observation, evidence: Evidence, scenario: str) -> Iterator[Scenario]:
    """The recording of a scenario; with a reservation, nothing where it was not played.

    What failed in it is a finding; where the clients could not keep their rate nothing is judged.
    """
    seen = observation.resilience
    if seen is None or not {scenario} & {*seen.scenarios, *seen.prevented, *seen.errors}:
        evidence.skipped("the run did not change the mesh in this way")
    elif scenario in seen.errors:
        evidence.unknown(seen.errors[scenario])
    elif scenario in seen.prevented:
        by, _, reason = seen.prevented[scenario].partition(": ")
        if by == "its environment":
            evidence.skipped(reason)
        else:
            evidence.blocked(by, reason)
    else:
        record = seen.scenarios[scenario]
        for moment in record.moments:
            if moment.name == FAILED:
                evidence.expect(
                    False,
                    cluster=moment.cluster,
                    object=f"scenario {scenario}",
                    field="to its end",
                    expected="done",
                    found=moment.detail,
                )
        slow = [reason for stream in record.streams for reason in _too_little(record, stream)]
        for reason in slow:
            evidence.unknown(reason)
        if not slow:
            yield record


def _too_little(record: Scenario, stream: Stream) -> Iterator[str]:
    """Why a client has not sent enough to be judged by."""
    silent = sum(each.seconds for each in stream.interruptions)
    wanted = (record.seconds - silent - record.limit) * record.rate
    if len(stream.requests) < wanted * LEAST_SENT:
        yield f"{stream.client}: only {len(stream.requests)} of {wanted:.0f} requests were sent: too busy?"
    for each in stream.interruptions:
        if each.seconds > LONGEST_SILENCE and not each.intended:
            when = after(record, each.at)
            yield f"{stream.client}: nothing was sent for {each.seconds:.1f} s, {when}: {each.reason}"


def phases(record: Scenario) -> tuple[Phase, ...]:
    """The changes of a scenario, each until the mesh was whole again; to its end where that was not reached."""
    found, acts = [], [moment for moment in record.moments if moment.name == ACTED]
    for act, following in zip(acts, [*acts[1:], None], strict=True):
        end = following.at if following else record.seconds
        mended = _next(record, MENDED, act.at, end)
        found.append(Phase(act.cluster, act.at, mended, _next(record, WHOLE, mended, end)))
    return tuple(found)


def _next(record: Scenario, name: str, begin: float, end: float) -> float:
    return next((m.at for m in record.moments if m.name == name and begin <= m.at <= end), end)


def moments(record: Scenario, name: str) -> tuple[Moment, ...]:
    """The moments of that name."""
    return tuple(moment for moment in record.moments if moment.name == name)


def failed(stream: Stream, begin: float, end: float) -> tuple[Request, ...]:
    """The requests sent in that time which no helloworld answered."""
    return tuple(each for each in stream.requests if begin <= each.sent <= end and not each.version)


def restarts(record: Scenario, app: str) -> list[tuple[float, float]]:
    """For every restart of an app, from what came before it until it was over."""
    return [
        (before.at, moment.at)
        for before, moment in pairwise(record.moments)
        if moment.name.startswith(app) and moment.name.endswith(" restarted")
    ]


def after(record: Scenario, at: float) -> str:
    """When something was, counted from what happened last before it."""
    before = [moment for moment in record.moments if moment.at <= at]
    if not before:
        return f"{at:.1f} s after the first request"
    last = before[-1]
    what = " ".join(part for part in (last.name, last.cluster, last.detail[:40]) if part)
    return f"{at - last.at:.1f} s after «{what}»"


def shown(record: Scenario, requests: tuple[Request, ...]) -> str:
    """Requests that failed: how, and when."""
    lines = [f"{after(record, each.sent)}: {each.error or f'status {each.status}'}" for each in requests]
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    return "; ".join(lines[:MOST_SHOWN]) + more


def expect_served(evidence: Evidence, record: Scenario, excused: Sequence[tuple[float, float]] = ()) -> None:
    """No client's requests failed; those sent within excused times, begin and end, don't count."""
    for stream in record.streams:
        lost = tuple(each for each in failed(stream, 0.0, record.seconds) if not _within(each, excused))
        evidence.expect(
            not lost,
            cluster=stream.client,
            object=f"{len(stream.requests)} requests to helloworld",
            field="failed",
            expected="none",
            found=f"{len(lost)}: {shown(record, lost)}" if lost else "none",
        )


def expect_served_but(
    evidence: Evidence, record: Scenario, *budgets: tuple[int, Sequence[tuple[float, float]]]
) -> None:
    """No client's requests failed, but for those within a budget in the times, begin and end, that go with it."""
    expect_served(evidence, record, excused=[time for _, times in budgets for time in times])
    for budget, times in budgets:
        for begin, end in times:
            _expect_few(evidence, record, budget, begin, end)


def _expect_few(evidence: Evidence, record: Scenario, budget: int, begin: float, end: float) -> None:
    for stream in record.streams:
        lost = failed(stream, begin, end)
        evidence.expect(
            len(lost) <= budget,
            cluster=stream.client,
            object="requests to helloworld",
            field=f"failed between {begin:.0f} s and {end:.0f} s",
            expected=f"at most {budget}",
            found=f"{len(lost)}: {shown(record, lost)}" if lost else "none",
        )


def _within(request: Request, times: Sequence[tuple[float, float]]) -> bool:
    return any(begin <= request.sent <= end for begin, end in times)


def expect_within(
    evidence: Evidence, what: str, seconds: float, limit: float, *, cluster: str = "", field: str = "seconds"
) -> None:
    """Something took no longer than it may."""
    evidence.expect(
        seconds <= limit,
        cluster=cluster,
        object=what,
        field=field,
        expected=f"at most {limit:.0f} s",
        found=f"{seconds:.1f} s",
    )
