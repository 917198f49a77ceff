"""Measures the phases of a warm run: `python -m harness.proof.bench [--runs N] [--output DIR]`.

Runs primary-remote on several networks from nothing to its report, and judges the recorded observation once more
without clusters. Prints a table and writes bench.json.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.base.command import CommandError, run
from harness.model.observation import load
from harness.model.step import Phase
from harness.model.timeline import phase_seconds
from harness.runs import output_layout as layout

TOPOLOGY = "primary-remote"
TARGETS = {
    Phase.CLUSTERS.value: 22.0,
    Phase.OBSERVE.value: 10.0,
    "from nothing to report, cleanup apart": 95.0,
    "judge a recorded run": 3.0,
}
"""Seconds on 2 cores, warm."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how often to run it (default: 1)")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="directory (default: output/bench)")
    asked = parser.parse_args(arguments)
    console = Console()
    try:
        measured = [measure(asked.output / f"run-{number}") for number in range(1, asked.runs + 1)]
    except CommandError as failed:
        console.print(str(failed), markup=False)
        return 1
    medians = {name: round(statistics.median(run[name] for run in measured), 2) for name in measured[0]}
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "bench.json").write_text(json.dumps({"runs": measured, "median": medians}, indent=1) + "\n")
    console.print(table(medians, len(measured)))
    return 0


def measure(output: Path) -> dict[str, float]:
    """One run: seconds by phase, and in all.

    Raises:
        CommandError: the run was not conformant, so its times mean nothing.
    """
    started = time.monotonic()
    run([sys.executable, "-m", "pytest", f"--topology={TOPOLOGY}", f"--output={output}"])
    whole = time.monotonic() - started
    recorded = next((output / layout.OBSERVATIONS).glob("*.json"))
    phases = {phase.value: seconds for phase, seconds in phase_seconds(load(recorded).steps).items()}
    started = time.monotonic()
    run([sys.executable, "-m", "pytest", f"--observation={recorded}", f"--output={output / 'again'}"])
    return {
        **phases,
        "from nothing to report, cleanup apart": round(whole - phases.get(Phase.CLEANUP.value, 0.0), 2),
        "in all": round(whole, 2),
        "judge a recorded run": round(time.monotonic() - started, 2),
    }


def table(medians: Mapping[str, float], runs: int) -> Table:
    """The medians beside their targets."""
    shown = Table("phase", "seconds", "target", title=f"{TOPOLOGY}, multi-network, warm, median of {runs}")
    for name, seconds in medians.items():
        target = TARGETS.get(name)
        shown.add_row(
            name, f"{seconds:.1f}", "" if target is None else f"{'✓' if seconds <= target else '✗'} {target:.0f}"
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
