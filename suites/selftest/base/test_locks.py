"""Locks: alone or shared, on files and directories, released when the process ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.locks import locked, try_lock


@pytest.fixture(params=["file", "directory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is locked."""
    return tmp_path / "lock" if request.param == "file" else tmp_path


def test_alone(place: Path) -> None:
    with locked(place):
        assert try_lock(place) is None
        assert try_lock(place, shared=True) is None
    lock = try_lock(place)
    assert lock is not None
    assert try_lock(place) is None
    os.close(lock)


def test_shared(place: Path) -> None:
    with locked(place, shared=True):
        with locked(place, shared=True):
            assert try_lock(place) is None
        assert try_lock(place) is None
    lock = try_lock(place)
    assert lock is not None
    os.close(lock)


def test_waits_for_another_process_and_says_so(place: Path) -> None:
    """It holds the lock until its standard input is closed, and ends without releasing it."""
    program = (
        "import os, sys; from pathlib import Path; from harness.base.locks import try_lock\n"
        "assert try_lock(Path(sys.argv[1])) is not None\n"
        "print('held', flush=True); sys.stdin.read(); os._exit(1)"
    )
    told = []
    with subprocess.Popen(
        [sys.executable, "-c", program, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdin and other.stdout.readline() == "held\n"
        stdin = other.stdin

        def held() -> None:
            told.append(other.poll())
            stdin.close()

        with locked(place, held):
            assert other.wait(timeout=10) == 1
    assert told == [None]
