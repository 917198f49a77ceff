"""Judges recorded observations in a session of pytest in a process of its own, as `--observation` does."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from harness.runs.options.option import PREFIX

ROOT = Path(__file__).resolve().parents[1]
"""Where the packages are: the top of the checkout, or a directory of installed packages."""
PROGRAM = "pytest" if (ROOT / "conftest.py").exists() else "fixtures.console"
"""The module that begins a session: without its checkout, pytest does not find the suite by itself."""


def judge_recorded(observations: Sequence[Path], output: Path, log: Path | None = None) -> int:
    """Judge observations by every requirement that applies, whatever the environment says; returns the exit status.

    Args:
        observations: the files.
        output: directory for the reports.
        log: file for what the session prints; default it is printed.
    """
    # No option of the environment may change what is judged.
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name != "PYTEST_ADDOPTS"
    }
    given = [*(f"--observation={path}" for path in observations), f"--output={output}"]
    with log.open("w") if log else nullcontext() as printed:
        return subprocess.run(
            [sys.executable, "-m", PROGRAM, *given],
            check=False,
            cwd=ROOT,
            env=variables | {"PYTHONPATH": str(ROOT)},
            stdout=printed,
            stderr=printed and subprocess.STDOUT,
        ).returncode
