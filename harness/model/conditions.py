"""The conditions under which a mesh was formed or observed: how busy the machine was, how fast clusters answered."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from harness.model.base import Model

PROBE_SECONDS = 4.0
"""The shortest deadline that a verdict rests on: a probe's. A request has 5 s."""
CALM_SECONDS = 0.5
"""What a probe takes on a calm machine, at most: the start of a program, a connection, a handshake."""
SLOW_ANSWER_SECONDS = PROBE_SECONDS / 4
"""A probe is an exec with about four round trips between pods: where one round trip takes a quarter of its deadline,
the deadline says nothing about the mesh."""
BUSY_TASKS = PROBE_SECONDS / CALM_SECONDS
"""Runnable tasks for each processor. Each then gets that part of a processor, and what takes `CALM_SECONDS` takes a
whole deadline. It counts where the clusters run on the runner's own machine."""
LITTLE_MEMORY = 20.0
"""Percent of the time in which some task waits for memory (PSI, `some avg10`): then pages are read again instead of
used, and every duration is a multiple of the usual one."""


class RunnerSample(Model):
    """The runner's machine at one moment."""

    at: datetime
    tasks: float
    """Runnable tasks for each processor."""
    cpu_pressure: float | None = None
    """Percent of the last 10 s in which some task waited for a processor; None where the kernel doesn't tell (PSI)."""
    memory_pressure: float | None = None
    """The same for memory."""


class RoundTrip(Model):
    """One answer of a cluster, timed from the runner."""

    at: datetime
    cluster: str
    what: str
    """`API server`, or `exec` for a command that does nothing in a pod."""
    seconds: float
    answered: bool = True
    """False where no answer came in this time. It is no evidence of strain: a cluster that is down does not answer."""


class Conditions(Model):
    """What was measured every few seconds, while a mesh was formed or observed."""

    same_machine: bool
    """The clusters run on the runner's own machine (kind)."""
    processors: int
    runner: tuple[RunnerSample, ...] = ()
    round_trips: tuple[RoundTrip, ...] = ()
    clock_differences: dict[str, float] = {}
    """Cluster → seconds that the clock of a node is ahead of the runner's, to about a second."""

    @property
    def strain(self) -> str:
        """What was so bad that a deadline says nothing about the mesh, in words; empty where nothing was."""
        return "; ".join(self._strains())

    def _strains(self) -> Iterator[str]:
        if self.same_machine and self.runner:
            # The suite's own bursts are short: a machine that is overloaded is so at its calmest, too.
            tasks = sorted(sample.tasks for sample in self.runner)[(len(self.runner) - 1) // 4]
            if tasks >= BUSY_TASKS:
                yield f"{tasks:.0f} runnable tasks for each processor (at most {BUSY_TASKS:.0f})"
            memory = max(sample.memory_pressure or 0.0 for sample in self.runner)
            if memory >= LITTLE_MEMORY:
                yield f"tasks waited for memory {memory:.0f} % of the time (at most {LITTLE_MEMORY:.0f} %)"
        for name, what in self._asked:
            if (usual := self.usual(name, what)) >= SLOW_ANSWER_SECONDS:
                yield f"{name}: {what} answered after {usual:.1f} s (at most {SLOW_ANSWER_SECONDS:.0f} s)"

    @property
    def _asked(self) -> Iterable[tuple[str, str]]:
        """Each cluster with what was timed there, once."""
        return dict.fromkeys((trip.cluster, trip.what) for trip in self.round_trips)

    def usual(self, cluster: str, what: str) -> float:
        """Median seconds of a cluster's answers; 0 where it was never asked or never answered.

        Of an even number the smaller of the two in the middle: the first exec waits for those of the suite itself.
        """
        trips = (trip for trip in self.round_trips if (trip.cluster, trip.what) == (cluster, what))
        seconds = sorted(trip.seconds for trip in trips if trip.answered)
        return seconds[(len(seconds) - 1) // 2] if seconds else 0.0

    @property
    def summary(self) -> str:
        """One line for reports: the middle of the load, and the median of each cluster's answers."""
        tasks = sorted(sample.tasks for sample in self.runner)
        pressure = [sample.cpu_pressure for sample in self.runner if sample.cpu_pressure is not None]
        words = (
            [f"{tasks[len(tasks) // 2]:.1f} runnable tasks for each of {self.processors} processors"] if tasks else []
        )
        words += [f"CPU pressure {max(pressure):.0f} %"] if pressure else []
        for name, what in self._asked:
            words.append(f"{name}: {what} in {self.usual(name, what) * 1000:.0f} ms")
        return ", ".join(words)
