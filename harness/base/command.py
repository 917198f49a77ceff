"""Runs other programs, with their output in the error when they fail."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base.parallel import LOOK_SECONDS, check_interrupted


class CommandError(Exception):
    """A program ended with another status than 0, or did not end in time.

    The message holds the program's name, its status and the last lines it wrote; never its arguments'
    secrets: pass those over standard input.
    """

    def __init__(self, command: Sequence[str], status: int | None, output: str) -> None:
        tail = "\n".join(output.strip().splitlines()[-15:])
        ended = "did not end in time" if status is None else f"ended with status {status}"
        shown = " ".join([Path(command[0]).name, *command[1:]])
        super().__init__(f"{shown} {ended}: {tail}")
        self.command = tuple(command)
        self.status = status
        self.output = output


def run(
    command: Sequence[str | Path],
    *,
    input: str | None = None,  # noqa: A002 - the name subprocess uses
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return what it wrote to standard output; it ends with an interrupted run.

    Args:
        command: program and arguments.
        input: text for its standard input; the place for secrets.
        env: its whole environment; None inherits.
        cwd: its working directory.
        timeout: seconds.

    Raises:
        CommandError: it could not be started, failed, or did not end in time.
    """
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(
            words,
            stdin=None if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            text=True,
        )
    except OSError as failed:
        raise CommandError(words, 127, str(failed)) from None
    with process:
        try:
            stdout, stderr = _communicate(process, input, timeout)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            raise CommandError(words, None, _text(expired.stderr) or _text(expired.stdout)) from None
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise CommandError(words, process.returncode, stderr or stdout)
    return stdout


def _communicate(process: subprocess.Popen[str], given: str | None, timeout: float | None) -> tuple[str, str]:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, max(0.0, deadline - time.monotonic()))
        try:
            return process.communicate(given, timeout=left)
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() >= deadline:
                raise
        check_interrupted()
        given = None  # communicate() goes on with what it was given first


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else (output or "")
