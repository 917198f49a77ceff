"""Which version of the suite this is."""

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from harness.base.command import CommandError, run
from harness.model.observation import SuiteVersion

ROOT = Path(__file__).parents[2]
DIGITS = 12
COMMIT = ("git", "describe", "--always", "--exclude=*", f"--abbrev={DIGITS}", "--dirty=+")
"""Prints the commit and no tag: which tags there are differs from clone to clone."""


def suite_version() -> SuiteVersion:
    """Version of the package, and the commit that it was exported from, or of the checkout that it is run from.

    `+` after the commit marks local changes; it is empty where it is not known.
    """
    try:
        number = version("eastwest")
    except PackageNotFoundError:
        number = "unknown"
    return SuiteVersion(version=number, commit=exported(_recorded()) or _checked_out(ROOT))


def exported(text: str) -> str:
    """The commit that `git archive` has written into the file for it (.gitattributes); empty in a checkout."""
    return text.strip()[:DIGITS] if re.fullmatch(r"[0-9a-f]{40,64}\s*", text) else ""


def _recorded() -> str:
    file = files("harness").joinpath("machine", "commit.txt")
    return file.read_text() if file.is_file() else ""


def _checked_out(root: Path) -> str:
    """The commit of the checkout; empty where the suite is not the checkout: it may be installed inside of another."""
    if not (root / ".git").exists():
        return ""
    try:
        return run(COMMIT, cwd=root, timeout=5).strip()
    except CommandError:
        return ""
