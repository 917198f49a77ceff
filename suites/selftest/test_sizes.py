"""No module is longer than 300 lines, no function longer than 40: what is longer is two things."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
OWN = ("conftest.py", "fixtures", "harness", "reports", "suites")
MODULE, FUNCTION = 300, 40
TABLES = {
    "harness/proof/faults/certificates.py",
    "harness/proof/faults/control_plane.py",
    "harness/proof/faults/gateways.py",
    "harness/proof/faults/remote_secrets.py",
    "reports/model.py",
    "suites/selftest/support/live_mesh.py::objects",
    "suites/selftest/support/valid_kinds.py",
    "suites/selftest/support/valid_kinds.py::canary",
}
"""Declared data: a table is as long as what it declares."""


def lengths(path: str, source: str) -> Iterator[tuple[str, int, int]]:
    """Module and functions of a source: name, lines, and how many it may have. A function's docstring doesn't count."""
    yield path, len(source.splitlines()), MODULE
    for node in functions(ast.parse(source).body):
        first = node.body[0]
        documented = ast.get_docstring(node, clean=False) is not None
        docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        yield f"{path}::{node.name}", (node.end_lineno or 0) - node.lineno + 1 - docstring, FUNCTION


def functions(statements: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those of a module and of its classes; what is within one is counted with it."""
    for each in statements:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each
        elif isinstance(each, ast.ClassDef):
            yield from functions(each.body)


def test_lines_are_counted() -> None:
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert list(lengths("m.py", source)) == [("m.py", 6, MODULE), ("m.py::f", 2, FUNCTION)]


@cache
def too_long(root: str) -> set[str]:
    """Modules and functions of a part of the project that are longer than they may be."""
    start = PROJECT / root
    return {
        name
        for path in ([start] if start.is_file() else start.rglob("*.py"))
        for name, lines, most in lengths(str(path.relative_to(PROJECT)), path.read_text())
        if lines > most
    }


@pytest.mark.parametrize("root", OWN)
def test_nothing_is_too_long(root: str) -> None:
    assert too_long(root) - TABLES == set()


def test_what_is_no_longer_too_long_is_off_the_list() -> None:
    assert TABLES - set().union(*map(too_long, OWN)) == set()
