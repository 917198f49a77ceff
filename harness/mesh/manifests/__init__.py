"""Manifests that the suite applies itself, one file an object or a few that belong together."""

from importlib.resources import files
from string import Template
from typing import Any

from harness.base import yaml_documents


def render(name: str, **values: str) -> list[dict[str, Any]]:
    """The objects of a manifest with its placeholders filled in.

    Args:
        name: the file's name without `.yaml`.
        values: a value for each `${placeholder}`; they stand in quotes in the file.

    Raises:
        KeyError: a placeholder has no value.
    """
    text = files(__package__).joinpath(f"{name}.yaml").read_text()
    return list(yaml_documents.load_all(Template(text).substitute(values)))
