"""Does the same work on several clusters side by side, and lets all of it end when the run is interrupted."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from harness.base.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_IN_ORDER = ContextVar("in_order", default=False)
_INTERRUPTED: ContextVar[threading.Event | None] = ContextVar("interrupted", default=None)
LOOK_SECONDS = 1.0
"""How long something that waits may go without a look at `check_interrupted`."""


def check_interrupted() -> None:
    """For what waits: end here where the work that this thread does side by side with others was interrupted.

    Python delivers Ctrl-C to the main thread only; without a look at this the others would wait to their deadlines.

    Raises:
        KeyboardInterrupt: it was.
    """
    interrupted = _INTERRUPTED.get()
    if interrupted and interrupted.is_set():
        raise KeyboardInterrupt


def interruption() -> threading.Event | None:
    """Set when the parallel work of this thread is interrupted; None where its work is not parallel."""
    return _INTERRUPTED.get()


@contextmanager
def in_order() -> Iterator[None]:
    """Inside, this thread does one item after the other: for plans, which are read from top to bottom."""
    token = _IN_ORDER.set(True)
    try:
        yield
    finally:
        _IN_ORDER.reset(token)


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item], at_once: int | None = None) -> list[Result]:
    """Call a function with every item at once, or so many at once, and return the results in the items' order.

    Every call is waited for, also when another has failed, so that nothing goes on behind the caller's back. On Ctrl-C
    they are told to end (`check_interrupted`), and then waited for.

    Raises:
        UserError: the first, where all that failed is something the user can mend.
        ExceptionGroup: more than one call failed otherwise. A single failure is raised as it is.
    """
    work = list(items)
    if _IN_ORDER.get() or not work:
        return [function(item) for item in work]
    context = copy_context()
    interrupted = _INTERRUPTED.get() or threading.Event()
    context.run(_INTERRUPTED.set, interrupted)
    gate, at_work = threading.Condition(), 0

    def call(item: Item) -> Result:
        nonlocal at_work
        with gate:
            check_interrupted()
            at_work += 1
        try:
            return function(item)
        finally:
            with gate:
                at_work -= 1
                gate.notify_all()

    with ThreadPoolExecutor(max_workers=at_once or len(work)) as pool:
        try:
            futures = [pool.submit(context.copy().run, call, item) for item in work]
            wait(futures)
        except BaseException:
            # Ctrl-C comes here. The pool itself would not wait for a thread that was just being started.
            with gate:
                interrupted.set()
                gate.wait_for(lambda: not at_work)
            raise
    errors = [error for future in futures if (error := future.exception())]
    if len(errors) == 1 or (errors and all(isinstance(error, UserError) for error in errors)):
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(work)} failed", errors)
    return [future.result() for future in futures]
