"""Where the time of a run went."""

from datetime import UTC, datetime, timedelta

from harness.model.step import Outcome, Phase, Step
from harness.model.timeline import critical_path
from suites.selftest.support.recordings import recorded

START = datetime(2026, 1, 1, tzinfo=UTC)


def _step(title: str, started: float, seconds: float) -> Step:
    at = START + timedelta(seconds=started)
    return Step(phase=Phase.MESH, title=title, cluster=None, started=at, seconds=seconds, outcome=Outcome.DONE)


def test_the_critical_path_is_what_ended_last_before_each_step_began() -> None:
    """Of what ran beside it nothing is on it, nor is what ended after the step that follows had begun."""
    steps = (
        _step("create", 0, 10),
        _step("short beside it", 0, 4),
        _step("waits for both", 10.02, 5),
        _step("from the start into the last", 1, 15),
        _step("last", 15.03, 3),
    )
    assert [step.title for step in critical_path(steps)] == ["create", "waits for both", "last"]
    assert [step.title for step in critical_path((*steps, _step("outlasts all", 2, 30)))] == ["outlasts all"]
    assert critical_path(()) == ()


def test_a_remotes_gateway_is_on_the_critical_path() -> None:
    """In that run it was waited for 27 seconds, while the workloads were long there."""
    titles = [step.title for step in critical_path(recorded("primary-remote-multi-network").steps)]
    assert "Wait for the East-West gateway to be available" in titles
    assert "Wait for the helloworld application to be available" not in titles
