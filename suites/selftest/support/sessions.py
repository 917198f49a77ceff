"""Sessions of pytest in processes of their own, forked from one process that has imported everything already.

An interpreter that imports the suite takes seconds; a fork takes none.
"""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PATIENCE = 300
"""Seconds after which a session that should have ended has not; a busy machine is no failure."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["suites.selftest.support.preloaded"])


def _run(said: str, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Whoever runs the tests may ignore them, as a shell does for what it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(PROJECT)
    os.environ.update(environment)
    # pytest collects garbage several times at the end, and what was imported is none.
    gc.freeze()
    sys.exit(pytest.main(list(arguments)))


def begin(arguments: Sequence[str], said: str | Path, environment: Mapping[str, str]) -> ForkServerProcess:
    """Begin a session.

    Args:
        arguments: pytest's.
        said: file or terminal that standard output and standard error are appended to.
        environment: variables in addition to those of the tests.
    """
    process = _FORKS.Process(target=_run, args=(str(said), dict(environment), list(arguments)))
    process.start()
    return process


def ended(process: ForkServerProcess) -> int | None:
    """The exit status; None where the session has not ended in time."""
    process.join(PATIENCE)
    return process.exitcode


def run(arguments: Sequence[str], said: Path, environment: Mapping[str, str] | None = None) -> tuple[int | None, str]:
    """The exit status of a whole session, and what it printed."""
    process = begin(arguments, said, environment or {})
    try:
        return ended(process), said.read_text()
    finally:
        process.kill()
        process.join()
