"""Waits for what can't be watched: asks again and again, until a deadline."""

import threading
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.base.errors import StepError
from harness.base.parallel import check_interrupted, interruption

PAUSE_SECONDS = 0.2


class WaitError(StepError):
    """What was waited for did not come true in time, or can't any more.

    Args:
        message: what, after how many seconds, and what was last seen.
        last: what was last seen to be missing.
    """

    def __init__(self, message: str, last: str) -> None:
        super().__init__(message)
        self.last = last


def wait_until(
    pending: Callable[[], str],
    timeout: float,
    *,
    unmet: str = "",
    pause_seconds: float = PAUSE_SECONDS,
    waiting: Callable[[str], object] = str,
    hopeless: Callable[[], str] | None = None,
) -> None:
    """Ask until nothing is pending. Ends with an interrupted run.

    Args:
        pending: says in a few words what is still missing, "" when nothing is. Asked at least once.
        timeout: seconds.
        unmet: begins the error, in place of what is missing: "the mesh is not whole".
        pause_seconds: between two questions.
        waiting: told what is missing, after each question.
        hopeless: says why it can't come true any more, "" while it may; its words end the wait.

    Raises:
        WaitError: the time is over, or there is no hope.
        KeyboardInterrupt: the run was interrupted.
    """

    def ask() -> str:
        check_interrupted()
        if missing := pending():
            waiting(missing)
            if hopeless and (why := hopeless()):
                raise WaitError(f"{missing}: {why}", missing)
        return missing

    def expire(state: RetryCallState) -> None:
        missing = str(state.outcome.result()) if state.outcome else ""
        after = f"after {timeout:.0f} s"
        raise WaitError(f"{unmet} {after}: {missing}" if unmet else f"{missing} {after}", missing)

    Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_delay(timeout),
        wait=wait_fixed(pause_seconds),
        sleep=pause,
        retry_error_callback=expire,
    )(ask)


def pause(seconds: float) -> None:
    """Do nothing for a while.

    Raises:
        KeyboardInterrupt: the run was interrupted; at once.
    """
    event: threading.Event | None = interruption()
    if event:
        event.wait(seconds)
    else:
        time.sleep(seconds)
    check_interrupted()
