"""Waits, for a bounded time, while the machine that the clusters run on is overloaded (docs/conditions.md)."""

import threading
import time
from collections import deque
from collections.abc import Callable

from harness.base.waiting import WaitError, wait_until
from harness.model.conditions import Conditions, RunnerSample
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.observe.conditions import PERIOD_SECONDS, processors, read_runner

TITLE = "Wait until the machine is not overloaded"
SAMPLES = 3
"""The suite's own bursts are shorter than the time that these take."""


class Patience:
    """The seconds that a whole run may spend in waiting for its machine. Safe to use from several threads.

    Args:
        seconds: in all; once they are spent, an overloaded machine is only named.
        same_machine: whether the clusters run on this machine; where they don't, its load says little about them.
        read: measures the machine; default `read_runner`.
        period_seconds: between two measurements.
    """

    def __init__(
        self,
        seconds: float,
        *,
        same_machine: bool,
        read: Callable[[], RunnerSample] | None = None,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._left, self._same_machine = seconds, same_machine
        self._read, self._period = read or read_runner, period_seconds
        self._lock = threading.Lock()

    def await_calm(self, log: StepLog, phase: Phase) -> None:
        """Wait until the machine is not overloaded, or patience has run out; a calm machine costs one measurement.

        Args:
            log: gets a step where the machine is overloaded.
            phase: that is about to begin.

        Raises:
            KeyboardInterrupt: the run was interrupted.
        """
        recent: deque[RunnerSample] = deque(maxlen=SAMPLES)
        if not self._same_machine or not self._strain(recent):
            return
        with self._lock, log.step(phase, TITLE) as step:
            began = time.monotonic()
            try:
                wait_until(
                    lambda: self._strain(recent),
                    self._left,
                    pause_seconds=min(self._period, self._left),
                    waiting=step.waiting,
                )
                step.note(f"not overloaded any more after {time.monotonic() - began:.0f} s")
            except WaitError as overloaded:
                step.skip(f"{overloaded.last}; the run goes on")
            finally:
                self._left = max(0.0, self._left - (time.monotonic() - began))

    def _strain(self, recent: deque[RunnerSample]) -> str:
        recent.append(self._read())
        return Conditions(same_machine=True, processors=processors(), runner=tuple(recent)).strain
