"""Live progress of the steps: rows with spinners on a terminal, one line a step in a log."""

import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TextIO

from rich.console import Console, ConsoleRenderable
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.model.step import Outcome, Step
from harness.model.step_log import Begun, Event, Listener, Waiting

LOG_WIDTH = 240
SAY_AGAIN = 10.0
"""Seconds after which a log is told again what a step waits for, when that has changed."""


class Verbosity(IntEnum):
    """How much is said."""

    QUIET = -1
    """Only what went wrong."""
    NORMAL = 0
    VERBOSE = 1
    """Also what steps that went well had to say, and every change of what is waited for."""


MARKS = {
    Outcome.DONE: ("✓", "green"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.ERROR: ("!", "bold magenta"),
    Outcome.SKIPPED: ("–", "dim"),
}
PLAIN = {"✓": "ok", "✗": "FAILED", "!": "ERROR", "–": "skipped", "…": "...", "→": "->"}


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, default standard output; wide and plain where that is no terminal.

    NO_COLOR, FORCE_COLOR and COLUMNS of the environment are honoured.
    """
    target = stream or sys.stdout
    width = None if target.isatty() else LOG_WIDTH
    return Console(file=target, width=width, highlight=False, soft_wrap=False, emoji=False)


def both(*listeners: Listener) -> Listener:
    """A listener that tells several others, in order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


class Progress:
    """A `Listener` that shows what is under way. Thread-safe; use it as a context manager.

    Args:
        output: where to; a terminal gets live rows, everything else a line for each step.
        prefix: the topology's name, put before each line; needed where several run side by side.
        verbosity: how much is said.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        output: Console,
        prefix: str = "",
        verbosity: Verbosity = Verbosity.NORMAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output, self._prefix, self._verbosity, self._clock = output, prefix, verbosity, clock
        self._lock = threading.Lock()
        self._started = clock()
        self._running: dict[tuple[str, str | None], _Row] = {}
        self._live: Live | None = None

    def __enter__(self) -> "Progress":
        if self._output.is_terminal and self._verbosity > Verbosity.QUIET:
            self._live = Live(
                get_renderable=self._rows,
                console=self._output,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take note of a step that begins, waits or ends."""
        with self._lock:
            line = self._note(event)
        # Outside the lock: a live display takes its own, and asks for the rows while it holds it.
        if self._live and isinstance(event, Begun):
            self._live.refresh()
        if line is not None:
            self._output.print(line, soft_wrap=not self._output.is_terminal)

    def _note(self, event: Event) -> Text | None:
        key = (event.title, event.cluster)
        match event:
            case Begun():
                self._running[key] = _Row(event.title, event.cluster, self._clock())
                return None
            case Waiting():
                row = self._running.setdefault(key, _Row(event.title, event.cluster, self._clock()))
                row.message = event.message
                return self._waits(row)
            case Step():
                self._running.pop(key, None)
                return self._ended(event)

    def _waits(self, row: "_Row") -> Text | None:
        """In a log, what is waited for, now and then."""
        now = self._clock()
        due = row.told is None or now - row.told >= SAY_AGAIN or self._verbosity is Verbosity.VERBOSE
        if self._live or self._verbosity is Verbosity.QUIET or not due:
            return None
        row.told = now
        return self._line("…", "dim", row.cluster, f"{row.title}: {row.message}")

    def _ended(self, step: Step) -> Text | None:
        wrong = step.outcome in {Outcome.FAILED, Outcome.ERROR}
        if self._verbosity is Verbosity.QUIET and not wrong:
            return None
        mark, style = MARKS[step.outcome]
        line = self._line(mark, style, step.cluster, step.title)
        line.append(f"  {step.seconds:.1f} s", "dim")
        if step.detail and (wrong or step.outcome is Outcome.SKIPPED or self._verbosity is Verbosity.VERBOSE):
            line.append(_indented(step.detail), "" if wrong else "dim")
        return line

    def _line(self, mark: str, style: str, cluster: str | None, text: str) -> Text:
        line = Text()
        if self._live:
            line.append(f"{self._prefix}  " if self._prefix else "", "dim")
        else:
            name = f"{self._prefix} " if self._prefix else ""
            line.append(f"[{name}{self._clock() - self._started:6.1f} s] ", "dim")
        line.append(f"{self._drawn(mark)} ", style)
        line.append(f"{cluster}: " if cluster else "", "cyan")
        line.append(text)
        return line

    def _drawn(self, mark: str) -> str:
        return PLAIN.get(mark, mark) if self._output.options.ascii_only else mark

    def _rows(self) -> ConsoleRenderable:
        with self._lock:
            rows = sorted(self._running.values(), key=lambda row: row.began)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        table.add_column(style="dim", overflow="ellipsis", no_wrap=True, ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for row in rows:
            seconds = f"{self._clock() - row.began:.0f} s"
            table.add_row(row.spinner, row.cluster or "", row.title, " ".join(row.message.split()), seconds)
        return table


class _Row:
    """A step under way."""

    def __init__(self, title: str, cluster: str | None, began: float) -> None:
        self.title, self.cluster, self.began = title, cluster, began
        self.message = ""
        self.told: float | None = None
        self.spinner = Spinner("dots", style="cyan")


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.strip().splitlines())
