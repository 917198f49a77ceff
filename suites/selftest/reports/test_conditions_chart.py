"""The chart of the conditions: what is drawn is what was measured, and everything in it is told in words, too."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from harness.model.conditions import BUSY_TASKS, Conditions, RoundTrip, RunnerSample
from harness.model.observation import Observation
from reports import conformance, html
from reports.html.conditions_chart import HEIGHT, WIDTH, Curve, curves
from suites.selftest.support.results import judged, run_info

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAME = "multi-primary-multi-network"


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _conditions(*, same_machine: bool = True) -> Conditions:
    return Conditions(
        same_machine=same_machine,
        processors=2,
        runner=tuple(RunnerSample(at=_at(2 * n), tasks=tasks) for n, tasks in enumerate((2.0, 20.0, 4.0))),
        round_trips=(
            RoundTrip(at=_at(0), cluster="east", what="API server", seconds=0.01),
            RoundTrip(at=_at(4), cluster="east", what="API server", seconds=0.25),
            RoundTrip(at=_at(1), cluster="west", what="exec", seconds=5.0, answered=False),
        ),
    )


def _curve(label: str, conditions: Conditions) -> Curve:
    return next(curve for curve in curves(conditions) if curve.label.startswith(label))


def test_a_curve_has_each_measurement_at_its_time_and_height() -> None:
    found = _curve("runner: runnable", _conditions())
    assert [mark.x for mark in found.marks] == [0, WIDTH / 2, WIDTH]
    assert [mark.y for mark in found.marks] == [HEIGHT * 0.9, 0, pytest.approx(HEIGHT * 0.8)]
    assert (found.middle, found.highest, found.limit) == ("4", "20", f"{BUSY_TASKS:.0f}")
    assert found.limit_y == pytest.approx(HEIGHT * (1 - BUSY_TASKS / 20))
    assert found.line.count(",") == 3


def test_the_threshold_is_seen_where_nothing_comes_near_it() -> None:
    found = _curve("east: API server", _conditions())
    assert (found.middle, found.highest, found.limit) == ("0.01 s", "0.25 s", "1 s")
    assert found.limit_y is not None
    assert 0 < found.limit_y < min(mark.y for mark in found.marks)


def test_what_was_not_answered_is_marked_and_no_part_of_the_curve() -> None:
    found = _curve("west: exec", _conditions())
    assert (found.middle, found.highest, found.lost, found.line) == ("no answer", "no answer", 1, "")


def test_a_threshold_that_does_not_count_is_not_drawn() -> None:
    assert _curve("runner: runnable", _conditions(same_machine=False)).limit_y is None


def test_what_the_kernel_does_not_tell_has_no_curve() -> None:
    assert [curve.label for curve in curves(_conditions()) if curve.label.startswith("runner")] == [
        "runner: runnable tasks for each processor"
    ]
    sample = RunnerSample(at=START, tasks=1.0, cpu_pressure=30.0, memory_pressure=0.0)
    found = curves(Conditions(same_machine=True, processors=2, runner=(sample,)))
    assert [(curve.highest, curve.limit) for curve in found] == [("1", "8"), ("0 %", "20 %"), ("30 %", "")]


def test_the_page_has_the_chart_and_its_numbers(good_observations: Mapping[str, Observation]) -> None:
    observation = good_observations[NAME].model_copy(
        update={"conditions": _conditions(), "conditions_of_forming": _conditions()}
    )
    result = judged(observation)
    text = html.render(conformance.build([result], run_info()), [result], run_info())
    assert re.findall(r"Conditions while it was (\w+)<", text) == ["formed", "observed"]
    section = re.search(r'<details class="conditions".*?</details>', text, re.DOTALL)
    assert section
    assert section[0].count('<svg class="course"') == section[0].count('aria-hidden="true"') == 3
    words = " ".join(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", section[0], flags=re.DOTALL).split())
    assert "runner: runnable tasks for each processor 4 20 8" in words
    assert "east: API server answered after 0.01 s 0.25 s 1 s" in words
    assert "west: exec answered after 1 without an answer no answer no answer 1 s" in words


def test_without_measurements_there_is_no_chart(good_observations: Mapping[str, Observation]) -> None:
    assert curves(None) == ()
    assert curves(Conditions(same_machine=True, processors=2)) == ()
    result = judged(good_observations[NAME].model_copy(update={"conditions": None}))
    assert '<svg class="course"' not in html.render(conformance.build([result], run_info()), [result], run_info())
