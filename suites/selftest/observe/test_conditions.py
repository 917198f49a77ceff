"""The meter of conditions: what it reads, and that nothing that it asks stops an observation."""

import threading
from pathlib import Path

from harness.kube.api import ExecResult, TransportError
from harness.observe.conditions import ConditionsMeter, read_runner
from suites.selftest.support.fake_kube import FakeKube


class _Timed(FakeKube):
    """Answers at once; its second exec has been asked when `asked` is set."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = threading.Event()

    def exec(self, *_: object, **__: object) -> ExecResult:
        self.asked.set()
        return ExecResult(0, "1\n", "")


class _Silent(FakeKube):
    """Never answers."""

    def version(self, timeout: float) -> str:
        raise TransportError(f"no answer in {timeout} s")


def test_every_cluster_is_timed() -> None:
    """API server and exec, beside the runner; an answer that never came is noted as such."""
    kubes = {"east": (east := _Timed("east")), "west": _Silent("west")}
    with ConditionsMeter(kubes, lambda name: ("sample", f"sleep-{name}", "sleep"), same_machine=True) as meter:
        assert east.asked.wait(5)
        for thread in threading.enumerate():
            thread.join(0.05) if thread.daemon else None
    found = meter.conditions
    assert {(trip.cluster, trip.what, trip.answered) for trip in found.round_trips} >= {
        ("east", "API server", True),
        ("east", "exec", True),
        ("west", "API server", False),
    }
    assert found.runner
    assert found.clock_differences["east"] < -1e9
    assert found.summary.startswith(f"{found.runner[0].tasks:.1f} runnable tasks")


def test_reading_the_runner(tmp_path: Path) -> None:
    """Runnable tasks without the meter itself, and the pressure of the last ten seconds; None where there is none."""
    (tmp_path / "loadavg").write_text("9.00 8.00 7.00 21/400 12345\n")
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=44.29 avg60=19.17 avg300=28.16 total=1\nfull avg10=0.00\n")
    found = read_runner(tmp_path)
    assert found.tasks > 0
    assert (found.cpu_pressure, found.memory_pressure) == (44.29, None)
    assert read_runner(tmp_path / "none").tasks >= 0
