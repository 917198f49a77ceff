"""YAML read and written by libyaml, where PyYAML has it: in pure Python large manifests take seconds."""

from collections.abc import Iterator
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_all(text: str) -> Iterator[Any]:
    """The documents of a text, without empty ones.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return filter(None, yaml.load_all(text, Loader=_LOADER))


def dump(data: object, *, width: int) -> str:
    """One document, with its keys in their own order.

    Args:
        data: of plain types.
        width: longest line, in characters.
    """
    return str(yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=width))
