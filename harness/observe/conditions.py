"""Measures the conditions of an observation while it is made: the runner's load, and how fast each cluster answers."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.kube.api import KubeApi
from harness.model.conditions import Conditions, RoundTrip, RunnerSample

PERIOD_SECONDS = 2.0
ANSWER_SECONDS = 5.0
API_SERVER, EXEC = "API server", "exec"
Shell = tuple[str, str, str]
"""Namespace, ready pod, and a container in it where a command can be run."""


class ConditionsMeter:
    """Measures every `PERIOD_SECONDS` until it is left; never raises. Use it as a context manager.

    Args:
        kubes: the clusters that are observed, by name.
        shells: where a command that does nothing may be run on a cluster; None while no pod of it is known.
        same_machine: the clusters run on this machine.
    """

    def __init__(self, kubes: Mapping[str, KubeApi], shells: Callable[[str], Shell | None], same_machine: bool) -> None:
        self._kubes, self._shells, self._same_machine = kubes, shells, same_machine
        self._lock, self._over = threading.Lock(), threading.Event()
        self._runner: list[RunnerSample] = []
        self._trips: list[RoundTrip] = []
        self._clocks: dict[str, float] = {}

    def __enter__(self) -> "ConditionsMeter":
        measures: list[Callable[[], None]] = [self._measure_runner]
        measures += [lambda name=name: self._measure_cluster(name) for name in self._kubes]  # type: ignore[misc]
        for measure in measures:
            threading.Thread(target=self._repeat, args=(measure,), daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        # A question that is still under way has no more to say.
        self._over.set()

    @property
    def conditions(self) -> Conditions:
        """What was measured so far."""
        with self._lock:
            return Conditions(
                same_machine=self._same_machine,
                processors=processors(),
                runner=tuple(self._runner),
                round_trips=tuple(self._trips),
                clock_differences=dict(self._clocks),
            )

    def _repeat(self, measure: Callable[[], None]) -> None:
        while not self._over.is_set():
            with suppress(Exception):  # a meter that fails measures nothing; what it would have said is missing
                measure()
            self._over.wait(PERIOD_SECONDS)

    def _measure_runner(self) -> None:
        sample = read_runner()
        with self._lock:
            self._runner.append(sample)

    def _measure_cluster(self, name: str) -> None:
        kube, shell = self._kubes[name], self._shells(name)
        self._time(name, API_SERVER, lambda: kube.version(ANSWER_SECONDS))
        if shell and not self._over.is_set():
            command = ("date", "+%s")
            said = self._time(name, EXEC, lambda: kube.exec(*shell, command, timeout=ANSWER_SECONDS).stdout)
            with suppress(ValueError):
                self._clocks[name] = round(float(said) - time.time(), 1)

    def _time(self, cluster: str, what: str, ask: Callable[[], str]) -> str:
        at, clock, said, answered = datetime.now(UTC), time.monotonic(), "", False
        try:
            said, answered = ask(), True
        finally:
            seconds = round(time.monotonic() - clock, 3)
            with self._lock:
                trip = RoundTrip(at=at, cluster=cluster, what=what, seconds=seconds, answered=answered)
                self._trips.append(trip)
        return said


def read_runner(proc: Path = Path("/proc")) -> RunnerSample:
    """This machine's load at this moment; the load of the last minute where the kernel doesn't say what is runnable.

    Args:
        proc: where the kernel's files are (proc(5): loadavg, pressure).
    """
    try:
        # This process is one of them.
        runnable = int((proc / "loadavg").read_text().split()[3].partition("/")[0]) - 1.0
    except (OSError, ValueError, IndexError):
        runnable = os.getloadavg()[0]
    return RunnerSample(
        at=datetime.now(UTC),
        tasks=round(max(0.0, runnable) / processors(), 2),
        cpu_pressure=_pressure(proc / "pressure" / "cpu"),
        memory_pressure=_pressure(proc / "pressure" / "memory"),
    )


def _pressure(file: Path) -> float | None:
    """`some avg10` of a PSI file; None where there is none. Source: Linux, "PSI - Pressure Stall Information"."""
    try:
        some = file.read_text().splitlines()[0].split()
        return float(some[1].removeprefix("avg10="))
    except (OSError, ValueError, IndexError):
        return None


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
