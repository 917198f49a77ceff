"""Where the time went: the steps of a run as phases. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from harness.model.step import Phase, Step

_CLOCK = timedelta(milliseconds=50)
"""Seconds of a step are rounded, and the next one is begun by another thread."""


def phase_seconds(steps: Iterable[Step]) -> dict[Phase, float]:
    """Wall-clock seconds in which at least one step of each phase was under way, in the order of `Phase`.

    Steps on different clusters overlap; a moment counts once for each phase.
    """
    spans: dict[Phase, list[tuple[datetime, datetime]]] = {}
    for step in steps:
        spans.setdefault(step.phase, []).append((step.started, _end(step)))
    return {phase: round(_covered(spans[phase]), 2) for phase in Phase if phase in spans}


def critical_path(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that the run's length depends on, in their order: each began when the one before it had ended.

    A recorded step doesn't say what it waited for. That is taken to be what ended last before it began; of several that
    ended together, the longest.
    """
    path: list[Step] = []
    before = list(steps)
    while before:
        path.append(max(before, key=lambda step: (_end(step), step.seconds)))
        before = [
            step for step in before if step.started < path[-1].started and _end(step) <= path[-1].started + _CLOCK
        ]
    return tuple(reversed(path))


def _end(step: Step) -> datetime:
    return step.started + timedelta(seconds=step.seconds)


def _covered(spans: list[tuple[datetime, datetime]]) -> float:
    total, until = 0.0, None
    for start, end in sorted(spans):
        if until is None or start > until:
            total, until = total + (end - start).total_seconds(), end
        elif end > until:
            total, until = total + (end - until).total_seconds(), end
    return total
