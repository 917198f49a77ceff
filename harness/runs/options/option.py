"""How one command line option is declared: everything that pytest, the parser and the documentation need of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_type_hints

PREFIX = "EASTWEST_"
Given = str | list[str] | bool
"""What the user gave: text; a list where the option is repeatable; whether it is set for a flag."""


@dataclass(frozen=True)
class Option:
    """One command line option; the annotation of a field of a section."""

    help: str
    convert: Callable[[str, Given], object]
    """From the option's name and what was given to the field's value; raises UserError."""
    default: str = ""
    """As text; the empty string is "not given". Flags and repeatable options have none."""
    values: str = ""
    """What is written after the equals sign, for instance N or A,B."""
    page: str = ""
    """The page below docs/ that says more."""
    flag: bool = False
    repeatable: bool = False
    paths: bool = False
    """Its values are files: the variable separates several as KUBECONFIG does, with a colon on Linux."""
    bare: str = ""
    """The value of the option without one; empty where it needs one."""
    name: str = ""
    """Without the dashes; by default the field's name."""
    field: str = ""
    """Set when the declarations are collected, as is `section`."""
    section: str = ""

    @property
    def destination(self) -> str:
        """Its name in pytest's namespace, apart from pytest's own options."""
        return "eastwest_" + self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that stands in for it."""
        return PREFIX + self.name.replace("-", "_").upper()

    @property
    def not_given(self) -> Given:
        """What `read` returns where neither the option nor its variable is given."""
        return False if self.flag else [] if self.repeatable else self.default

    @property
    def arguments(self) -> dict[str, object]:
        """The keyword arguments of pytest's `addoption`; the namespace has None where the option is not given."""
        page = f" (docs/{self.page})" if self.page else ""
        default = f" (default: {self.default})" if self.default else ""
        found: dict[str, object] = {
            "dest": self.destination,
            "default": None,
            "help": f"{self.help}{page} [{self.variable}]{default}".replace("%", "%%"),
        }
        if self.flag:
            return found | {"action": "store_true"}
        if self.bare:
            found |= {"nargs": "?", "const": self.bare}
        return found | {"metavar": self.values or "VALUE", "action": "append" if self.repeatable else "store"}

    def read(self, argument: object, variable: str | None) -> Given:
        """What was given: the argument wins over the variable.

        Args:
            argument: from the command line: text, a list where it is repeatable, True for a flag; None without it.
            variable: the environment variable's value; None where it is not set.
        """
        if self.flag:
            return bool(argument) if argument is not None else (variable or "").lower() in ("1", "true", "yes")
        if self.repeatable:
            if isinstance(argument, list):
                return argument
            several = (variable or "").split(os.pathsep) if self.paths else [variable or ""]
            return [value for value in several if value]
        return str(argument) if argument is not None else self.default if variable is None else variable


def declared_in(section: type) -> tuple[Option, ...]:
    """The options that the fields of a section declare, in their order.

    Args:
        section: a class whose docstring is the section's title.
    """
    title = (section.__doc__ or "").strip().removesuffix(".")
    return tuple(
        replace(option, name=option.name or field.replace("_", "-"), field=field, section=title)
        for field, hint in get_type_hints(section, include_extras=True).items()
        for option in getattr(hint, "__metadata__", ())
        if isinstance(option, Option)
    )
