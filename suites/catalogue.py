"""The requirements that the suites declare; `python -m suites.catalogue` prints their page."""

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache

from harness.judge import catalogue as pages
from harness.judge.requirement import Requirement


@cache
def catalogue() -> Mapping[str, Requirement]:
    """The requirements of a mesh at rest, by id, in the order of their modules and lines."""
    return _declared("suites.conformance")


@cache
def resilience() -> Mapping[str, Requirement]:
    """The requirements of a mesh that is changed while it serves, in the same order."""
    return _declared("suites.resilience")


@cache
def every_requirement() -> Mapping[str, Requirement]:
    """Both, by id."""
    return pages.merged(catalogue(), resilience())


def _declared(suite: str) -> Mapping[str, Requirement]:
    package = importlib.import_module(suite)
    modules = (importlib.import_module(f"{suite}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    return pages.declared_in(modules)


if __name__ == "__main__":
    sys.stdout.write(pages.page(every_requirement().values()))
