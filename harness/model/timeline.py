"""Where the time went: the steps of a run as phases. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from harness.model.step import Phase, Step


def phase_seconds(steps: Iterable[Step]) -> dict[Phase, float]:
    """Wall-clock seconds in which at least one step of each phase was under way, in the order of `Phase`.

    Steps on different clusters overlap; a moment counts once for each phase.
    """
    spans: dict[Phase, list[tuple[datetime, datetime]]] = {}
    for step in steps:
        spans.setdefault(step.phase, []).append((step.started, step.started + timedelta(seconds=step.seconds)))
    return {phase: round(_covered(spans[phase]), 2) for phase in Phase if phase in spans}


def _covered(spans: list[tuple[datetime, datetime]]) -> float:
    total, until = 0.0, None
    for start, end in sorted(spans):
        if until is None or start > until:
            total, until = total + (end - start).total_seconds(), end
        elif end > until:
            total, until = total + (end - until).total_seconds(), end
    return total
