"""Records every step with its outcome and duration, and tells a listener as it happens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.base.errors import StepError, UserError
from harness.base.redaction import without_secrets
from harness.model.step import Outcome, Phase, Step


@dataclass(frozen=True)
class Begun:
    """A step has begun."""

    phase: Phase
    title: str
    cluster: str | None


@dataclass(frozen=True)
class Waiting:
    """What a step is waiting for right now; sent only when it changes."""

    title: str
    cluster: str | None
    message: str


Event = Begun | Waiting | Step
Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A listener that listens to nothing."""


class StepLog:
    """The steps of a run. Safe to use from several threads: clusters are worked on side by side.

    Args:
        listener: notified of each step as it begins, waits and ends; called from the thread of the step.
        earlier: steps that have been taken before, and belong to the run.
    """

    def __init__(self, listener: Listener = ignore, earlier: tuple[Step, ...] = ()) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._steps = list(earlier)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that have ended, in the order in which they began."""
        with self._lock:
            return tuple(sorted(self._steps, key=lambda step: step.started))

    @contextmanager
    def step(self, phase: Phase, title: str, cluster: str | None = None) -> Iterator["OpenStep"]:
        """Record what happens inside as one step. Exceptions are recorded, and raised on."""
        opened = OpenStep(title, cluster, self._tell)
        self._tell(Begun(phase, title, cluster))
        started, clock = datetime.now(UTC), time.monotonic()
        outcome, detail = Outcome.ERROR, ""
        try:
            yield opened
            outcome, detail = (Outcome.SKIPPED if opened.skipped else Outcome.DONE), opened.detail
        except (StepError, UserError) as failed:
            outcome, detail = Outcome.FAILED, str(failed)
            raise
        except BaseException as broken:
            detail = f"{type(broken).__name__}: {broken}"
            raise
        finally:
            seconds = round(time.monotonic() - clock, 3)
            ended = Step(
                phase=phase,
                title=title,
                cluster=cluster,
                started=started,
                seconds=seconds,
                outcome=outcome,
                detail=detail,
            )
            with self._lock:
                self._steps.append(ended)
            self._tell(ended)

    def _tell(self, event: Event) -> None:
        # A full disk under the log file, or a closed pipe: what can't be shown must still be done, and undone.
        with suppress(OSError):
            self._listener(event)


class OpenStep:
    """A step under way: say what it waits for, and what is worth knowing when it is done."""

    def __init__(self, title: str, cluster: str | None, tell: Listener) -> None:
        self._title, self._cluster, self._tell = title, cluster, tell
        self._last = ""
        self.detail = ""
        self.skipped = False

    def waiting(self, message: str) -> None:
        """Say what is being waited for; told on only when it differs from the last time."""
        if message != self._last:
            self._last = message
            self._tell(Waiting(self._title, self._cluster, without_secrets(message)))

    def note(self, detail: str) -> None:
        """Keep a line with the step."""
        self.detail = detail

    def skip(self, reason: str) -> None:
        """There was nothing to do, and why."""
        self.detail, self.skipped = reason, True
