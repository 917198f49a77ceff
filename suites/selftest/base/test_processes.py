"""Programs and memory of this machine."""

import os
import subprocess
import time
from pathlib import Path

import psutil

from harness.base.processes import available_memory, running


def test_a_program_is_found_by_its_whole_name_and_not_once_it_has_ended(tmp_path: Path) -> None:
    """The kernel keeps 15 characters of a name. What has ended stays a zombie until its parent waits for it."""
    program = tmp_path / "a-program-with-a-long-name"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        _until_named(process.pid, "a-program-with-")
        assert running(program.name) == (process.pid,)
        assert running("a-program-with-") == ()
    finally:
        process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert running(program.name) == ()
    process.wait()


def _until_named(pid: int, start: str) -> None:
    end = time.monotonic() + 10
    while not psutil.Process(pid).name().startswith(start):
        assert time.monotonic() < end


def test_memory_is_in_gibibytes() -> None:
    assert 0 < available_memory() < psutil.virtual_memory().total / 2**30 + 1
