"""The catalogue: every requirement that suites/conformance declares; `python -m harness.catalogue` prints its page."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from harness import requirement
from harness.requirement import Requirement
from harness.topology import Feature

FEATURES = {
    Feature.MULTI_PRIMARY: "multi-primary",
    Feature.PRIMARY_REMOTE: "primary-remote",
    Feature.SINGLE_NETWORK: "single network",
    Feature.MULTI_NETWORK: "multi-network",
}


@cache
def catalogue() -> Mapping[str, Requirement]:
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
    return MappingProxyType(found)


def page(requirements: Iterable[Requirement]) -> str:
    """The catalogue as Markdown, an anchor for each id: docs/requirements.md is this text."""
    parts = [
        "# Requirements",
        "Made from the docstrings in `suites/conformance` by `python -m harness.catalogue`. Ids are stable for ever. "
        "MUST: the procedure says it. SHOULD: it follows from the procedure. EXTENDED: users of a mesh need it.",
    ]
    area = ""
    for each in sorted(requirements, key=lambda each: each.area):
        if each.area != area:
            area = each.area
            parts.append(f"## {area[0].upper()}{area[1:]}")
        where = " or ".join(name for feature, name in FEATURES.items() if feature in each.features) or "every topology"
        acts = ", by an experiment in the sample namespace" if each.experiment else ""
        parts.append(f"### {each.id}\n\n*{each.level}, {where}{acts}*")
        parts.append(inspect.cleandoc(each.text))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(catalogue().values()))
