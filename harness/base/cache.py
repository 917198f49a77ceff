"""Where built things are kept between runs: outside the clone, named by the content of what they were made from."""

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from platformdirs import user_cache_path

from harness.base import locks
from harness.base.errors import UserError

SPACE_FIX = "free some space, or set XDG_CACHE_HOME to a directory on a larger disk"
locked = locks.locked
"""For those who build."""


def cache_directory() -> Path:
    """The suite's directory under the user's cache; on Linux $XDG_CACHE_HOME/eastwest, by default ~/.cache/eastwest."""
    return user_cache_path("eastwest", appauthor=False)


def in_use() -> Path:
    """File whose lock is shared by all who need the local registry, the container engine or the cached builds."""
    return cache_directory() / "in-use.lock"


def digest_of(*parts: str | bytes) -> str:
    """Name for something made from these parts: the first 16 hex digits of a SHA-256 over them.

    The lengths are part of it, so that ("ab", "c") and ("a", "bc") differ.
    """
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(f"{len(content)}:".encode() + content)
    return total.hexdigest()[:16]


def digest_of_files(directory: Path, exclude: Iterable[str] = ("__pycache__",)) -> str:
    """Digest over the names, modes and contents of all files below a directory."""
    parts: list[str | bytes] = []
    for file in sorted(directory.rglob("*")):
        if file.is_file() and not set(exclude) & set(file.parts):
            parts += [str(file.relative_to(directory)), str(file.stat().st_mode & 0o111 != 0), file.read_bytes()]
    return digest_of(*parts)


def entry(path: Path, build: Callable[[Path], None]) -> Path:
    """The directory at this path; built first if it is not there.

    It is built beside its place and renamed into it, so that it is either whole or absent. A second process that
    wants the same entry waits for the first.

    Args:
        path: where the entry is to be; its name says what it was made from.
        build: fills the empty directory it is given.

    Raises:
        UserError: no space is left.
    """
    if path.exists():
        return path
    with locked(path.with_name(path.name + ".lock")):
        if path.exists():
            return path
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            unfinished.chmod(0o755)
            build(unfinished)
            unfinished.rename(path)
        except OSError as failed:
            if failed.errno == errno.ENOSPC:
                raise UserError(
                    f"Could not build {path.name}", f"the disk of {path.parent} is full", SPACE_FIX
                ) from failed
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return path


def require_space(directory: Path, gibibytes: float, purpose: str) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        UserError: less than that is free where the directory is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free / 2**30
    if free < gibibytes:
        raise UserError(
            f"{purpose} needs {gibibytes:g} GiB of disk space",
            f"{directory} has {free:.1f} GiB free",
            SPACE_FIX,
        )


def shown(path: Path) -> str:
    """A path as it is shown to people and kept in observations: `~/…` below the home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
