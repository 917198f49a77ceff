"""Work side by side: everything is waited for, and an interruption reaches all of it."""

import os
import signal
import threading
import time

import pytest

from harness.base import command
from harness.base.command import CommandError
from harness.base.errors import UserError
from harness.base.parallel import in_parallel


def test_interruption_ends_programs_on_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes to the main thread only; programs that others wait for end with it, also two levels down."""
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.1)
    began = time.monotonic()
    programs = {"a": ["sh", "-c", f"sleep 0.2; kill -INT {os.getpid()}; sleep 30"], "b": ["sleep", "30"]}
    with pytest.raises(KeyboardInterrupt):
        in_parallel(lambda one: in_parallel(command.run, (["sleep", "30"], programs[one])), programs)
    assert time.monotonic() - began < 20


def test_nothing_begins_after_an_interruption() -> None:
    """What has begun is waited for, and then nothing goes on behind the caller's back."""
    ended: list[str] = []
    begun = threading.Barrier(3, action=lambda: os.kill(os.getpid(), signal.SIGINT))

    def work(item: str) -> None:
        begun.wait()
        time.sleep(0.3)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        in_parallel(work, "abc")
    seen = sorted(ended)
    time.sleep(0.2)
    assert sorted(ended) == seen == ["a", "b", "c"]
    assert in_parallel(str.upper, "ab") == ["A", "B"]


def test_a_program_that_does_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and what it wrote is told; input is given once."""
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.1)
    with pytest.raises(CommandError, match=r"did not end in time: half"):
        command.run(["sh", "-c", "echo half; sleep 30"], timeout=0.5)
    assert command.run(["sh", "-c", "sleep 0.3; cat"], input="given") == "given"


def test_what_the_user_can_mend_is_said_once() -> None:
    """Clusters that all have the same trouble are one mistake of the user's, and not a failure of the suite."""

    def fail(name: str) -> None:
        raise UserError(f"{name} does not answer.", "why", "fix") if name != "north" else ValueError(name)

    with pytest.raises(UserError, match="east does not answer"):
        in_parallel(fail, ["east", "west"])
    with pytest.raises(ExceptionGroup, match="2 of 2 failed"):
        in_parallel(fail, ["east", "north"])


def test_no_more_at_once_than_was_asked_for() -> None:
    lock, at_work, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1
        return item

    assert in_parallel(work, range(20), 3) == list(range(20))
    assert most <= 3
