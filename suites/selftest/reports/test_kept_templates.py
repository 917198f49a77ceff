"""Compiled templates that are kept: used as they are, compiled again where they are damaged, and never in the way."""

import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment
from jinja2.bccache import bc_magic

from reports.html.kept_templates import KeptTemplates


def _rendered(directory: Path, source: str = "one {{ what }}") -> str:
    environment = Environment(  # noqa: S701 - no HTML
        loader=DictLoader({"page": source}), bytecode_cache=KeptTemplates(directory)
    )
    return environment.get_template("page").render(what="word")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a template that was compiled."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert _rendered(tmp_path / "templates") == "one word"
    return tmp_path / "templates"


def test_what_is_kept_is_not_compiled_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "compile", lambda *_: pytest.fail("compiled again"))
        assert _rendered(kept) == "one word"
    assert _rendered(kept, "another {{ what }}") == "another word"
    assert len(list(kept.iterdir())) == 1


@pytest.mark.parametrize(
    "content", [b"", bc_magic, bc_magic + b"\x80\x02", b"something else"], ids=["empty", "begun", "cut", "other"]
)
def test_what_is_damaged_is_compiled(content: bytes, kept: Path) -> None:
    (file,) = kept.iterdir()
    file.write_bytes(content)
    assert _rendered(kept) == "one word"


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert _rendered(tmp_path / "file" / "templates") == "one word"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert _rendered(tmp_path / "templates") == "one word"
    assert not (tmp_path / "templates").exists()
