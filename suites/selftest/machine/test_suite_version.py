"""Which commit of the suite a report names."""

import re
import subprocess
from pathlib import Path

from harness.machine import suite_version as module
from harness.machine.suite_version import exported, suite_version

FILE = "harness/machine/commit.txt"


def test_a_checkout_names_its_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}\+?", suite_version().commit)


def test_an_export_holds_its_commit(tmp_path: Path) -> None:
    """With the attributes of this repository, and its file."""
    for name in (FILE, ".gitattributes"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((module.ROOT / name).read_text())
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    archive = subprocess.run(["git", "archive", "HEAD", FILE], cwd=tmp_path, check=True, capture_output=True).stdout
    text = subprocess.run(["tar", "-xO", FILE], input=archive, check=True, capture_output=True).stdout.decode()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True).stdout.decode()
    assert exported(text) == head[:12]
    assert exported((module.ROOT / FILE).read_text()) == ""


def test_a_repository_that_the_suite_is_installed_in_is_not_its_own(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    inside = tmp_path / "lib"
    inside.mkdir()
    assert module._checked_out(inside) == ""
