"""The import contract of pyproject.toml also holds for modules that are imported by name, which a linter can't see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[2] / "harness"
BY_NAME = {"import_module", "__import__", "resolve_name", "run_module", "run_path", "find_spec"}


def imported_by_name(source: str) -> Iterator[str]:
    """The names of modules that a source imports by calling a function; "?" where its beginning is not a literal."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) in BY_NAME:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.JoinedStr):
                first = first.values[0]
            yield str(first.value) if isinstance(first, ast.Constant) else "?"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('importlib.import_module("suites.conformance")', ["suites.conformance"]),
        ('import_module(f"harness.judge.diagnose.{name}")', ["harness.judge.diagnose."]),
        ("pkgutil.resolve_name(name)", ["?"]),
        ('__import__("reports")', ["reports"]),
        ("import harness", []),
    ],
)
def test_imports_by_name_are_found(source: str, names: list[str]) -> None:
    assert list(imported_by_name(source)) == names


def test_no_module_of_the_harness_imports_another_room_by_name() -> None:
    """Otherwise the layers that import-linter checks could be crossed unseen."""
    found = {
        (path, name): path.relative_to(HARNESS).parts[0]
        for path in HARNESS.rglob("*.py")
        for name in imported_by_name(path.read_text())
    }
    assert [str(path) for (path, name), room in found.items() if not name.startswith(f"harness.{room}.")] == []
