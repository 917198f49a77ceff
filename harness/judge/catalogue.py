"""A catalogue of requirements, made from the modules that declare them, and its page. Pure."""

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from harness.judge import requirement
from harness.judge.requirement import Requirement


def declared_in(modules: Iterable[ModuleType]) -> Mapping[str, Requirement]:
    """The requirements that modules declare, by id, in the order of the modules and their lines.

    Raises:
        ValueError: an id is declared twice.
    """
    values = (value for module in modules for value in vars(module).values())
    # A module may import the test of another one: that is the same declaration.
    declared = dict.fromkeys(found for value in values if (found := requirement.of(value)))
    return merged(*({found.id: found} for found in declared))


def merged(*parts: Mapping[str, Requirement]) -> Mapping[str, Requirement]:
    """One catalogue of several.

    Raises:
        ValueError: an id is in two of them.
    """
    ids = [id for part in parts for id in part]  # noqa: A001
    if len(ids) != len(set(ids)):
        raise ValueError(f"declared twice: {', '.join(sorted({each for each in ids if ids.count(each) > 1}))}")
    return MappingProxyType({id: found for part in parts for id, found in part.items()})  # noqa: A001


def page(requirements: Iterable[Requirement]) -> str:
    """The catalogue as Markdown, an anchor for each id: docs/requirements.md is this text."""
    parts = [
        "# Requirements",
        "Made from the docstrings in `suites/conformance` and `suites/resilience` by "
        "`python -m suites.catalogue`. Ids are stable for ever. "
        "MUST: the procedure says it. SHOULD: it follows from the procedure. EXTENDED: users of a mesh need it. "
        "On a mesh that lacks what a requirement *needs* it is not applicable: listed, and not judged. "
        "Where there is neither a sample nor a service to send requests to, what stands in for traffic is a MUST.",
    ]
    area = ""
    for each in sorted(requirements, key=lambda each: each.area):
        if each.area != area:
            area = each.area
            parts.append(f"## {area[0].upper()}{area[1:]}")
        needs = "".join(f", needs {feature}" for feature in each.needs)
        acts = ", by an experiment in the sample namespace" if each.experiment else ""
        acts += f", only with `--resilience`, by the scenario `{each.scenario}`" if each.scenario else ""
        level = f"{each.level}, where no traffic can be judged MUST" if each.for_traffic else str(each.level)
        parts.append(f"### {each.id}\n\n*{level}, {each.topologies}{needs}{acts}*")
        parts.append(inspect.cleandoc(each.text))
    return "\n\n".join(parts) + "\n"
