"""Locks between processes, on files and directories: the kernel releases one when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take a lock without waiting.

    Args:
        path: a directory, or a file, which is created if needed.
        shared: together with others that share it; by default alone.

    Returns:
        A file descriptor that holds the lock until it is closed; None where another process has the lock.

    Raises:
        OSError: the file can't be opened.
    """
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, _operation(shared=shared) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path, held: Callable[[], None] = lambda: None, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock for as long as the block runs; waits for it.

    Args:
        path: as for `try_lock`; directories above it are created.
        held: called before waiting for another process that has it.
        shared: as for `try_lock`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, operation = _opened(path), _operation(shared=shared)
    try:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            held()
            fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o600)


def _operation(*, shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX
