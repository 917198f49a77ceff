"""Measures the phases of warm runs: `make bench`, or `python -m harness.proof.bench` with the options below.

Each size of mesh is formed from nothing to its report, then its recorded observation is judged once more without
clusters. Seconds depend on the machine and on the day: each is also given in K, the time in which the clusters of
that run were created. Prints a table; writes bench.json, and bench.md with the same table. A size whose run was not
conformant has no place in it: what that run said is printed, and the exit status is 1.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from harness.base.command import CommandError, run
from harness.base.processes import available_memory
from harness.model.observation import Observation, load
from harness.model.step import Phase
from harness.model.timeline import phase_seconds
from harness.observe.conditions import processors
from harness.runs import output_layout as layout

CREATION = "create the clusters"
WHOLE = "from nothing to report, cleanup apart"
AGAIN = "judge a recorded run"
MEMORY = "memory taken, at most, GiB"
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Size:
    """What is measured."""

    topology: str
    network: str
    clusters: int
    nodes: int

    def __str__(self) -> str:
        """The head of its column."""
        nodes = f" of {self.nodes} nodes" if self.nodes > 1 else ""
        return f"{self.topology}, {self.network} network, {self.clusters} clusters{nodes}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.bench", description=__doc__)
    parser.add_argument("--topology", default="primary-remote", help="control plane model (default: primary-remote)")
    parser.add_argument("--network", default="multi", help="network model (default: multi)")
    parser.add_argument("--clusters", default="2", help="numbers of clusters, for instance 2,3,4 (default: 2)")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of each cluster (default: 1)")
    parser.add_argument("--runs", type=int, default=1, help="how often each is run (default: 1)")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="directory (default: output/bench)")
    asked = parser.parse_args(arguments)
    sizes = [Size(asked.topology, asked.network, int(count), asked.nodes) for count in asked.clusters.split(",")]
    console, measured, failures = Console(), {}, []
    for size in sizes:
        try:
            measured[str(size)] = _measured(size, asked.runs, asked.output)
        except CommandError as failed:
            failures.append(f"{size}: {failed}")
    if measured:
        asked.output.mkdir(parents=True, exist_ok=True)
        (asked.output / "bench.json").write_text(json.dumps(measured, indent=1) + "\n")
        page = markdown({name: medians(runs) for name, runs in measured.items()}, asked.runs)
        (asked.output / "bench.md").write_text(page)
        console.print(page, markup=False)
    for told in failures:
        console.print(told, markup=False)
    return 1 if failures else 0


def _measured(size: Size, runs: int, output: Path) -> list[dict[str, float]]:
    name = f"{size.clusters}-clusters"
    return [measure(size, output / name / f"run-{number}") for number in range(1, runs + 1)]


def measure(size: Size, output: Path) -> dict[str, float]:
    """One run: seconds by phase and in all, and GiB.

    Raises:
        CommandError: the run was not conformant, so its times mean nothing.
    """
    options = [f"--topology={size.topology}", f"--network={size.network}", f"--clusters={size.clusters}"]
    started = time.monotonic()
    with _memory() as memory:
        run([sys.executable, "-m", "pytest", *options, f"--nodes={size.nodes}", f"--output={output}"])
    whole = time.monotonic() - started
    recorded = next((output / layout.OBSERVATIONS).glob("*.json"))
    started = time.monotonic()
    run([sys.executable, "-m", "pytest", f"--observation={recorded}", f"--output={output / 'again'}"])
    return {**durations(load(recorded), whole), AGAIN: round(time.monotonic() - started, 2), MEMORY: memory.most}


def durations(observation: Observation, whole: float) -> dict[str, float]:
    """Seconds of a run by phase and in all: pure.

    Args:
        observation: of the run.
        whole: seconds that its command took.
    """
    created = [s.seconds for s in observation.steps if s.phase is Phase.CLUSTERS and s.title == "Create the cluster"]
    phases = {phase.value: seconds for phase, seconds in phase_seconds(observation.steps).items()}
    # Clusters are made side by side.
    cleanup = phases.get(Phase.CLEANUP.value, 0.0)
    return {CREATION: max(created), **phases, WHOLE: round(whole - cleanup, 2), "in all": round(whole, 2)}


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each measure: pure."""
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def markdown(measured: Mapping[str, Mapping[str, float]], runs: int) -> str:
    """The table: a row for each measure, a column for each size, seconds and K. Pure but for the machine's size."""
    rows = dict.fromkeys(name for found in measured.values() for name in found)
    text = f"Median of {runs}, warm, {processors()} processors.\n\n"
    text += f"| | {' | '.join(measured)} |\n|---|{'---|' * len(measured)}\n"
    for name in rows:
        cells = (_cell(name, found) for found in measured.values())
        text += f"| {name} | {' | '.join(cells)} |\n"
    return text


def _cell(name: str, found: Mapping[str, float]) -> str:
    if name not in found:
        return ""
    if name == MEMORY:
        return f"{found[name]:.1f}"
    return f"{found[name]:.1f} s ({found[name] / found[CREATION]:.1f} K)"


@dataclass
class _Memory:
    """What was available before, and the least since; GiB."""

    before: float = field(default_factory=available_memory)
    least: float = float("inf")

    @property
    def most(self) -> float:
        """The most that was in use beyond what was in use before."""
        return round(max(0.0, self.before - self.least), 2)


@contextmanager
def _memory() -> Iterator[_Memory]:
    found, over = _Memory(), threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            found.least = min(found.least, available_memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield found
    finally:
        over.set()
        sampler.join()


if __name__ == "__main__":
    sys.exit(main())
