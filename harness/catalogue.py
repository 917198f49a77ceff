"""The catalogue: every requirement that suites/conformance declares."""

import importlib
import pkgutil

from harness import requirement
from harness.requirement import Requirement


def catalogue() -> dict[str, Requirement]:
    """All requirements by id, in the order of their modules and of their lines.

    Raises:
        ValueError: an id is declared twice.
    """
    package = importlib.import_module("suites.conformance")
    found: dict[str, Requirement] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"suites.conformance.{module.name}")).values():
            declared = requirement.of(value)
            if declared is None:
                continue
            if declared.id in found and found[declared.id] is not declared:
                raise ValueError(f"{declared.id} is declared twice")
            found[declared.id] = declared
    return found
