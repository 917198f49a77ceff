"""Reads distribution profiles: built-in ones by name, a vendor's by its path."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.base.errors import UserError
from harness.mesh.distributions.model import Distribution, HelmChart, Manifests, Operator

DIRECTORY = Path(__file__).parent
DOCUMENTATION = "docs/distributions.md"


def built_in() -> tuple[str, ...]:
    """Names of the profiles that come with the suite."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.yaml")))


def load(name_or_path: str) -> Distribution:
    """A profile; relative paths in a vendor's file are those beside it.

    Args:
        name_or_path: a built-in profile's name, or a YAML file.

    Raises:
        UserError: no such profile, not YAML, an unknown key (names the nearest known one) or an unusable value, or a
            file that it names does not exist.
    """
    own = name_or_path in built_in()
    path = DIRECTORY / f"{name_or_path}.yaml" if own else Path(name_or_path)
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as missing:
        near = difflib.get_close_matches(name_or_path, built_in(), 1)
        raise UserError(
            f"There is no distribution {name_or_path}.",
            f"it is none of {', '.join(built_in())}, and no file can be read there ({missing.strerror})",
            f"did you mean --distribution={near[0]}?" if near else "correct --distribution",
        ) from None
    except yaml.YAMLError as broken:
        raise UserError(f"{path} is not YAML.", " ".join(str(broken).split()), "correct it") from None
    distribution = parse(found, str(path)).anchored(path.parent)
    _require_files(distribution, str(path))
    return distribution


def parse(found: object, where: str) -> Distribution:
    """A profile from the data in a file: pure.

    Raises:
        UserError: an unknown key or an unusable value.
    """
    if not isinstance(found, Mapping):
        raise UserError(f"{where} is no distribution profile.", "it holds no mapping", f"see {DOCUMENTATION}")
    try:
        distribution = Distribution.model_validate(found)
    except ValidationError as invalid:
        raise explained(invalid, where, known_keys(), DOCUMENTATION) from None
    if distribution.installer == "sail" and distribution.operator is None:
        raise UserError(
            f"{where} does not say how the operator arrives.",
            "its installer is sail, and the key operator is missing",
            f"add it, for instance operator: {{arrival: present}}; see {DOCUMENTATION}",
        )
    return distribution


def known_keys() -> tuple[str, ...]:
    """Every key that a profile may have, at any depth; those of `values` aside, which are Istio's."""
    return tuple(dict.fromkeys(_keys(Distribution.model_json_schema())))


def _keys(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from schema.get("properties") or {}
        for inner in schema.values():
            yield from _keys(inner)
    if isinstance(schema, list):
        for inner in schema:
            yield from _keys(inner)


def explained(invalid: ValidationError, where: str, known: Sequence[str], documentation: str) -> UserError:
    """The first thing that is wrong in a user's file, in words.

    Args:
        invalid: what pydantic found.
        where: the file.
        known: every key that it may have, at any depth.
        documentation: where the keys are explained.
    """
    errors: list[Any] = list(invalid.errors())
    # A misspelt key comes before the key that is then missing.
    error = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in error["loc"] if part not in ("helm", "olm", "manifests", "present"))
    if error["type"] != "extra_forbidden":
        what = f"{key} in {where}" if key else where
        return UserError(
            f"{what} can't be used.", str(error["msg"]).removeprefix("Value error, "), f"see {documentation}"
        )
    near = difflib.get_close_matches(str(error["loc"][-1]), known, 1, cutoff=0)
    return UserError(
        f"{where} has an unknown key {key}.",
        "a key that is not known would be ignored without a word",
        f"did you mean {near[0]}? All keys are in {documentation}",
    )


def _require_files(distribution: Distribution, where: str) -> None:
    named = {"operator": _files(distribution.operator)}
    if distribution.pull_secret:
        named["pull_secret"] = (distribution.pull_secret.file,)
    for key, files in named.items():
        for file in files:
            if not Path(file).exists():
                raise UserError(
                    f"{file} does not exist.", f"{key} in {where} names it", "correct the path; it is taken from there"
                )


def _files(operator: Operator | None) -> tuple[str, ...]:
    """The files or directories that the operator arrives from."""
    if isinstance(operator, Manifests):
        return operator.files
    if isinstance(operator, HelmChart) and not operator.repository and "://" not in operator.chart:
        return (operator.chart,)
    return ()
