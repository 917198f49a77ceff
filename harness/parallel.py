"""Does the same work on several clusters side by side."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_IN_ORDER = ContextVar("in_order", default=False)


@contextmanager
def in_order() -> Iterator[None]:
    """Inside, this thread does one item after the other: for plans, which are read from top to bottom."""
    token = _IN_ORDER.set(True)
    try:
        yield
    finally:
        _IN_ORDER.reset(token)


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call a function with every item at once and return the results in the items' order.

    Every call is waited for, also when another has failed, so that nothing goes on behind the caller's back.

    Raises:
        ExceptionGroup: more than one call failed. A single failure is raised as it is.
    """
    work = list(items)
    if _IN_ORDER.get() or not work:
        return [function(item) for item in work]
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        futures = [pool.submit(function, item) for item in work]
        # Ctrl-C comes here, not into the pool's own waiting, which then still follows.
        wait(futures)
    errors = [error for future in futures if (error := future.exception())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {len(work)} failed", errors)
    return [future.result() for future in futures]
