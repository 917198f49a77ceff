"""The timeline: each step on each cluster as a bar, so that one sees where the minutes went. Pure."""

from dataclasses import dataclass
from datetime import datetime

from harness.model.observation import Observation
from harness.model.step import Outcome, Step
from harness.model.timeline import critical_path, phase_seconds

LABELS, BARS, END = 380, 620, 70
"""Widths of the three columns of the drawing."""
LANE, GAP, HEAD = 10, 7, 28
"""Heights: a cluster's bar, the space between rows, a phase's heading."""
MARKS = 6
"""About how many marks the axis has."""


@dataclass(frozen=True)
class Bar:
    """One step on one cluster."""

    x: float
    y: float
    width: float
    lane: int
    """Index of its cluster, for the colour; -1 for a step of all of them."""
    outcome: Outcome
    critical: bool
    """Whether the run's length depends on it."""
    title: str


@dataclass(frozen=True)
class Row:
    """A step on all clusters that took it."""

    y: float
    height: float
    label: str
    seconds: float
    """The longest."""
    bars: tuple[Bar, ...]
    troubled: bool


@dataclass(frozen=True)
class PhaseBlock:
    """The steps of one phase."""

    y: float
    name: str
    seconds: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Timeline:
    """The whole drawing."""

    width: float
    height: float
    left: float
    right: float
    clusters: tuple[str, ...]
    blocks: tuple[PhaseBlock, ...]
    marks: tuple[tuple[float, str], ...]
    """x and label of each mark of the axis."""
    total: float
    troubles: tuple[Step, ...]


def lay_out(observation: Observation) -> Timeline | None:
    """Lay out the steps of a run; None where none were recorded."""
    steps = observation.steps
    if not steps:
        return None
    names = tuple(cluster.name for cluster in observation.topology.clusters)
    first = min(step.started for step in steps)
    total = max((step.started - first).total_seconds() + step.seconds for step in steps) or 1.0
    blocks, y = [], float(HEAD)
    lengths, critical = phase_seconds(steps), critical_path(steps)
    for phase in dict.fromkeys(step.phase for step in sorted(steps, key=lambda step: step.started)):
        rows, below = _rows([step for step in steps if step.phase is phase], y + HEAD, names, critical, (first, total))
        blocks.append(PhaseBlock(y, phase, lengths[phase], rows))
        y = below
    bad = {Outcome.FAILED, Outcome.ERROR}
    return Timeline(
        width=LABELS + BARS + END,
        height=y + GAP,
        left=LABELS,
        right=LABELS + BARS,
        clusters=names,
        blocks=tuple(blocks),
        marks=_marks(total),
        total=total,
        troubles=tuple(step for step in steps if step.outcome in bad),
    )


def _rows(
    steps: list[Step], y: float, names: tuple[str, ...], critical: tuple[Step, ...], span: tuple[datetime, float]
) -> tuple[tuple[Row, ...], float]:
    rows = []
    for title in dict.fromkeys(step.title for step in steps):
        members = [step for step in steps if step.title == title]
        taken = sorted({_lane(step, names) for step in members})
        height = LANE * len(taken)
        bars = tuple(
            _bar(step, y + LANE * taken.index(_lane(step, names)), names, step in critical, span) for step in members
        )
        troubled = any(step.outcome in {Outcome.FAILED, Outcome.ERROR} for step in members)
        rows.append(Row(y, height, title, max(step.seconds for step in members), bars, troubled))
        y += height + GAP
    return tuple(rows), y


def _lane(step: Step, names: tuple[str, ...]) -> int:
    return names.index(step.cluster) if step.cluster in names else -1


def _bar(step: Step, y: float, names: tuple[str, ...], critical: bool, span: tuple[datetime, float]) -> Bar:
    first, total = span
    start = (step.started - first).total_seconds()
    where = f"{step.cluster}: " if step.cluster else ""
    detail = f"\n{step.detail}" if step.detail else ""
    return Bar(
        x=round(LABELS + BARS * start / total, 2),
        y=y,
        width=round(max(2.0, BARS * step.seconds / total), 2),
        lane=_lane(step, names),
        outcome=step.outcome,
        critical=critical,
        title=f"{where}{step.title}: {step.seconds:.1f} s from {start:.1f} s, {step.outcome}{detail}",
    )


def _marks(total: float) -> tuple[tuple[float, str], ...]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    each = next((step for step in steps if total / step <= MARKS), 7200.0)
    return tuple(
        (round(LABELS + BARS * n * each / total, 2), f"{n * each:g} s" if each < 60 else f"{n * each / 60:g} min")  # noqa: PLR2004
        for n in range(int(total / each) + 1)
    )
