"""The catalogue: every requirement that suites/ declares; `python -m harness.judge.catalogue` prints its page."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from harness.judge import requirement
from harness.judge.requirement import Requirement


@cache
def catalogue() -> Mapping[str, Requirement]:
    """The requirements of a mesh that stands, by id, in the order of their modules and of their lines.

    Raises:
        ValueError: an id is declared twice.
    """
    return _declared("suites.conformance")


@cache
def resilience() -> Mapping[str, Requirement]:
    """The requirements of a mesh that is changed while it serves, likewise."""
    return _declared("suites.resilience")


def _declared(suite: str) -> Mapping[str, Requirement]:
    package = importlib.import_module(suite)
    found: dict[str, Requirement] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"{suite}.{module.name}")).values():
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
        "Made from the docstrings in `suites/conformance` and `suites/resilience` by "
        "`python -m harness.judge.catalogue`. Ids are stable for ever. "
        "MUST: the procedure says it. SHOULD: it follows from the procedure. EXTENDED: users of a mesh need it. "
        "On a mesh that lacks what a requirement *needs* it is not applicable: listed, and not judged.",
    ]
    area = ""
    for each in sorted(requirements, key=lambda each: each.area):
        if each.area != area:
            area = each.area
            parts.append(f"## {area[0].upper()}{area[1:]}")
        needs = "".join(f", needs {feature}" for feature in each.needs)
        acts = ", by an experiment in the sample namespace" if each.experiment else ""
        acts += f", only with `--resilience`, by the scenario `{each.scenario}`" if each.scenario else ""
        parts.append(f"### {each.id}\n\n*{each.level}, {each.topologies}{needs}{acts}*")
        parts.append(inspect.cleandoc(each.text))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page([*catalogue().values(), *resilience().values()]))
