"""Runs other programs, with their output in the error when they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


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
    """Run a program to its end and return what it wrote to standard output.

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
        ended = subprocess.run(
            words, input=input, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise CommandError(words, None, _text(expired.stderr) or _text(expired.stdout)) from None
    except OSError as failed:
        raise CommandError(words, 127, str(failed)) from None
    if ended.returncode != 0:
        raise CommandError(words, ended.returncode, ended.stderr or ended.stdout)
    return ended.stdout


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else (output or "")
