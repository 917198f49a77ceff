"""The chart of the conditions: one small curve for each thing that was measured, beside its numbers. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.model.conditions import BUSY_TASKS, LITTLE_MEMORY, SLOW_ANSWER_SECONDS, Conditions

WIDTH, HEIGHT = 240, 28
HEADROOM = 1.25
"""How much higher the curve's field is than the threshold, where nothing is above it."""


@dataclass(frozen=True)
class Mark:
    """One measurement, in the coordinates of the curve."""

    x: float
    y: float
    lost: bool
    """No answer came."""


@dataclass(frozen=True)
class Curve:
    """One thing that was measured."""

    label: str
    middle: str
    """The median, with its unit."""
    highest: str
    limit: str
    """The threshold of docs/conditions.md; empty where none counts."""
    marks: tuple[Mark, ...]
    limit_y: float | None
    lost: int
    """How many got no answer."""

    @property
    def line(self) -> str:
        """The points of the curve, as SVG has them."""
        return " ".join(f"{mark.x},{mark.y}" for mark in self.marks if not mark.lost)


@dataclass(frozen=True)
class _Series:
    label: str
    unit: str
    limit: float | None
    points: tuple[tuple[datetime, float, bool], ...]
    """When, how much, and whether it was answered."""


def curves(conditions: Conditions | None) -> tuple[Curve, ...]:
    """One for the runner's load, memory and CPU pressure, and one for the answers of each cluster; none without any."""
    found = tuple(_series(conditions)) if conditions else ()
    moments = [at for series in found for at, _, _ in series.points]
    return tuple(_curve(series, min(moments), max(moments)) for series in found)


def _series(conditions: Conditions) -> Iterator[_Series]:
    runner, counts = conditions.runner, conditions.same_machine
    if runner:
        tasks = tuple((sample.at, sample.tasks, True) for sample in runner)
        yield _Series("runner: runnable tasks for each processor", "", BUSY_TASKS if counts else None, tasks)
    if memory := tuple((each.at, each.memory_pressure, True) for each in runner if each.memory_pressure is not None):
        yield _Series("runner: tasks waited for memory", " %", LITTLE_MEMORY if counts else None, memory)
    if cpu := tuple((each.at, each.cpu_pressure, True) for each in runner if each.cpu_pressure is not None):
        yield _Series("runner: tasks waited for a processor", " %", None, cpu)
    for cluster, what in dict.fromkeys((trip.cluster, trip.what) for trip in conditions.round_trips):
        trips = [trip for trip in conditions.round_trips if (trip.cluster, trip.what) == (cluster, what)]
        points = tuple((trip.at, trip.seconds, trip.answered) for trip in trips)
        yield _Series(f"{cluster}: {what} answered after", " s", SLOW_ANSWER_SECONDS, points)


def _curve(series: _Series, begin: datetime, end: datetime) -> Curve:
    values = sorted(value for _, value, answered in series.points if answered)
    top = max((series.limit or 0) * HEADROOM, *values, 0.0) or 1.0
    span = (end - begin).total_seconds() or 1.0
    return Curve(
        label=series.label,
        middle=_said(values[(len(values) - 1) // 2 : (len(values) - 1) // 2 + 1], series.unit),
        highest=_said(values[-1:], series.unit),
        limit=_said([series.limit], series.unit) if series.limit is not None else "",
        marks=tuple(
            Mark(
                x=round(WIDTH * (at - begin).total_seconds() / span, 1),
                y=round(HEIGHT * (1 - value / top), 1) if answered else 0.0,
                lost=not answered,
            )
            for at, value, answered in series.points
        ),
        limit_y=round(HEIGHT * (1 - series.limit / top), 1) if series.limit is not None else None,
        lost=len(series.points) - len(values),
    )


def _said(value: Sequence[float], unit: str) -> str:
    return f"{value[0]:.2f}".rstrip("0").rstrip(".") + unit if value else "no answer"
