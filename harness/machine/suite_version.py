"""Which version of the suite this is."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.base.command import CommandError, run
from harness.model.observation import SuiteVersion

COMMIT = ("git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")
"""Prints the commit and no tag: which tags there are differs from clone to clone."""


def suite_version() -> SuiteVersion:
    """Version of the package, and the commit where it is run from a git checkout; `+` after it marks local changes."""
    try:
        number = version("eastwest")
    except PackageNotFoundError:
        number = "unknown"
    try:
        commit = run(
            ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"],
            cwd=Path(__file__).parent,
            timeout=5,
        )
    except CommandError:
        commit = ""
    return SuiteVersion(version=number, commit=commit.strip())
