"""A run on an overloaded machine waits, for a bounded time, says so, and goes on."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from harness.model.conditions import BUSY_TASKS, LITTLE_MEMORY, RunnerSample
from harness.model.step import Outcome, Phase, Step
from harness.model.step_log import StepLog, Waiting
from harness.runs import environment, patience
from harness.runs.lab import Lab
from harness.runs.options import OPTIONS, parse
from harness.runs.patience import SAMPLES, TITLE, Patience


def _sample(tasks: float, memory: float = 0.0) -> RunnerSample:
    return RunnerSample(at=datetime.now(UTC), tasks=tasks, memory_pressure=memory)


def _machine(*tasks: float) -> Callable[[], RunnerSample]:
    """A machine with this load at each measurement, and the last one from then on."""

    def measured() -> Iterator[RunnerSample]:
        yield from map(_sample, tasks)
        while True:
            yield _sample(tasks[-1])

    samples = measured()
    return lambda: next(samples)


def _patience(seconds: float, read: Callable[[], RunnerSample], *, same_machine: bool = True) -> Patience:
    return Patience(seconds, same_machine=same_machine, read=read, period_seconds=0.01)


def test_a_calm_machine_is_measured_once_and_costs_no_step() -> None:
    log, read = StepLog(), _machine(1.0, 100.0)
    _patience(60, read).await_calm(log, Phase.MESH)
    assert log.steps == ()
    assert read().tasks == 100.0


def test_an_overloaded_machine_is_waited_for() -> None:
    heard: list[object] = []
    log = StepLog(heard.append)
    _patience(60, _machine(20.0, 30.0, 20.0, 1.0)).await_calm(log, Phase.MESH)
    (step,) = log.steps
    assert (step.phase, step.title, step.outcome) == (Phase.MESH, TITLE, Outcome.DONE)
    assert "not overloaded any more" in step.detail
    said = [event.message for event in heard if isinstance(event, Waiting)]
    assert said[0] == f"20 runnable tasks for each processor (at most {BUSY_TASKS:.0f})"


def test_memory_counts_too() -> None:
    log = StepLog()
    _patience(0, lambda: _sample(1.0, LITTLE_MEMORY)).await_calm(log, Phase.ENVIRONMENT)
    assert "tasks waited for memory" in log.steps[0].detail


def test_patience_ends_and_is_spent_once_in_a_run() -> None:
    measured: list[RunnerSample] = []

    def read() -> RunnerSample:
        measured.append(_sample(20.0))
        return measured[-1]

    log, patience = StepLog(), _patience(0.2, read)
    patience.await_calm(log, Phase.MESH)
    while_patient = len(measured)
    patience.await_calm(log, Phase.OBSERVE)
    first, second = log.steps
    assert first.outcome is second.outcome is Outcome.SKIPPED
    assert first.detail == f"20 runnable tasks for each processor (at most {BUSY_TASKS:.0f}); the run goes on"
    assert first.seconds >= 0.15
    assert len(measured) - while_patient == 2, "one to look, one to say what is overloaded"


def test_no_patience_is_no_wait_and_still_named() -> None:
    log = StepLog()
    _patience(0, _machine(20.0)).await_calm(log, Phase.MESH)
    assert log.steps[0].detail.endswith("the run goes on")


def test_old_measurements_are_forgotten() -> None:
    """A machine that was calm once and is overloaded since is no calm machine."""
    log = StepLog()
    _patience(0.5, _machine(20.0, 20.0, *[30.0] * SAMPLES)).await_calm(log, Phase.MESH)
    assert log.steps[0].detail.startswith("30 runnable tasks")


def test_the_runners_load_says_nothing_about_clusters_elsewhere() -> None:
    log = StepLog()
    _patience(60, _machine(99.0), same_machine=False).await_calm(log, Phase.MESH)
    assert log.steps == ()


def test_an_interrupt_ends_the_wait() -> None:
    log = StepLog()
    samples = iter([_sample(20.0)])

    def read() -> RunnerSample:
        if sample := next(samples, None):
            return sample
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _patience(60, read).await_calm(log, Phase.MESH)
    assert log.steps[0].outcome is Outcome.ERROR


@pytest.mark.parametrize(("contexts", "steps"), [("", [TITLE]), ("east,west", [])])
def test_a_run_looks_at_its_machine_before_it_begins(
    contexts: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it makes the clusters on it: existing ones are not waited for."""
    given = {option.name: option.not_given for option in OPTIONS} | {"contexts": contexts, "patience": "0"}
    monkeypatch.setattr(environment, "provide", lambda *_: None)
    monkeypatch.setattr(Lab, "_existing", lambda *_: pytest.fail("no cluster is taken in this test"))
    monkeypatch.setattr(patience, "read_runner", _machine(20.0))
    heard: list[object] = []
    lab = Lab(parse(lambda name: given[name], {}))
    if contexts:
        with pytest.raises(pytest.fail.Exception):
            lab.prepare(heard.append)
    else:
        lab.prepare(heard.append)
    assert [event.title for event in heard if isinstance(event, Step)] == steps
