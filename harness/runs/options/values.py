"""From the text of an option to its value: one function for each form that values have.

Each takes the option's name and what was given, and raises UserError, naming the option, where that can't be its value.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from harness.base.errors import UserError
from harness.runs.options.option import PREFIX, Given

NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""A label of RFC 1123, as namespaces and Services are named."""
ImageSource = Literal["auto", "registry", "local", "archive"]


@dataclass(frozen=True)
class Images:
    """Where images come from."""

    source: ImageSource
    archive: Path | None = None
    """Set where they come from one."""


def flag(_option: str, given: Given) -> bool:
    """Whether it is set."""
    return bool(given)


def text(_option: str, given: Given) -> str:
    """The text as it is."""
    return str(given or "")


def listed(_option: str, given: Given) -> tuple[str, ...]:
    """The values between commas."""
    values = given if isinstance(given, list) else [str(given or "")]
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def named(option: str, given: Given) -> frozenset[str]:
    """The values between commas, as a set."""
    return frozenset(listed(option, given))


def several(_option: str, given: Given) -> tuple[str, ...]:
    """The values of a repeatable option, which may contain commas."""
    return tuple(given) if isinstance(given, list) else ((str(given),) if given else ())


def path(_option: str, given: Given) -> Path | None:
    """A path; None without one."""
    return Path(str(given)) if given else None


def directory(option: str, given: Given) -> Path:
    """A path that must be given; the empty one is the working directory."""
    return Path(text(option, given))


def paths(option: str, given: Given) -> tuple[Path, ...]:
    """The paths of a repeatable option."""
    return tuple(map(Path, several(option, given)))


def one_of(*known: str, or_none: bool = False) -> Callable[[str, Given], str]:
    """One of these values; with `or_none` also the empty text, where none is given."""

    def convert(option: str, given: Given) -> str:
        value = text(option, given)
        if value or not or_none:
            require_known(option, [value], known)
        return value

    return convert


def all_or_some(known: tuple[str, ...], every: tuple[str, ...] = ()) -> Callable[[str, Given], tuple[str, ...]]:
    """Some of these values, in their order; for the word all those of `every`, or where it is empty all of them."""

    def convert(option: str, given: Given) -> tuple[str, ...]:
        chosen = listed(option, given)
        if not chosen:
            raise UserError(f"--{option} is empty.", "nothing would be run", f"give one of: {', '.join(known)}, all")
        require_known(option, [value for value in chosen if value != "all"], known)
        wanted = {*chosen, *((every or known) if "all" in chosen else ())}
        return tuple(value for value in known if value in wanted)

    return convert


def some_of(known: Iterable[str]) -> Callable[[str, Given], frozenset[str]]:
    """Some of these values; the empty set where nothing is given."""

    def convert(option: str, given: Given) -> frozenset[str]:
        require_known(option, listed(option, given), tuple(known))
        return named(option, given)

    return convert


def whole(least: int) -> Callable[[str, Given], int]:
    """A whole number that is not below another."""
    return lambda option, given: int(_number(option, text(option, given), int, least))


def real(least: float) -> Callable[[str, Given], float]:
    """A finite number that is not below another."""
    return lambda option, given: _number(option, text(option, given), float, least)


def pairs(separator: str) -> Callable[[str, Given], dict[str, str]]:
    """NAME, separator, VALUE; repeatable."""

    def convert(option: str, given: Given) -> dict[str, str]:
        found = {}
        for value in several(option, given):
            left, found_separator, right = value.partition(separator)
            if not (left and found_separator and right):
                raise UserError(
                    f"--{option}={value} can't be read.", f"it has the form NAME{separator}VALUE", f"correct --{option}"
                )
            found[left] = right
        return found

    return convert


def different(option: str, given: Given) -> tuple[str, ...]:
    """The values between commas, none of them twice."""
    values = listed(option, given)
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise UserError(
            f"--{option} names {', '.join(twice)} twice.",
            "each cluster of a mesh must be another one",
            f"name every context once in --{option}",
        )
    return values


def url(option: str, given: Given) -> str:
    """A URL of HTTP, without a slash at its end."""
    value = text(option, given)
    if value and not value.startswith(("http://", "https://")):
        raise UserError(f"--{option}={value} is no URL.", "it begins with https:// or http://", f"correct --{option}")
    return value.rstrip("/")


def version(option: str, given: Given) -> str:
    """A version without a v before it."""
    return text(option, given).removeprefix("v")


def namespace(option: str, given: Given) -> str:
    """A namespace that may be created, labelled and removed (names: RFC 1123)."""
    name = text(option, given)
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"--{option}={name} can't be a namespace.",
            "a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit (RFC 1123)",
            f"correct --{option}",
        )
    return name


def images(option: str, given: Given) -> Images:
    """Where images come from, and the file where that is an archive."""
    value = text(option, given)
    kind, _, file = value.partition(":")
    if kind == "archive" and not file:
        raise UserError(
            f"--{option}={value} names no file.",
            "an archive is one file, which `make archive` writes",
            f"give it as --{option}=archive:FILE",
        )
    if kind == "archive":
        return Images("archive", Path(file))
    require_known(option, [value], ("auto", "registry", "local", "archive:FILE"))
    return Images(cast("ImageSource", value))


def require_known(option: str, values: Iterable[str], known: Iterable[str]) -> None:
    """See that values are among those that an option takes.

    Raises:
        UserError: one is not.
    """
    taken = tuple(known)
    for value in values:
        if value not in taken:
            raise UserError(
                f"--{option}={value} is not known.",
                f"the values it takes are: {', '.join(taken)}",
                f"correct --{option} (or {PREFIX}{option.replace('-', '_').upper()})",
            )


def _number(option: str, value: str, kind: Callable[[str], float], least: float) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = least - 1
    if not number >= least or number == float("inf"):
        raise UserError(
            f"--{option}={value} can't be used.", f"it must be a number of {least} or more", f"correct --{option}"
        )
    return number
