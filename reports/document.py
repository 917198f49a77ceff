"""Reads the documents that runs have published."""

import json
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from harness.base.errors import UserError
from harness.model.base import Model

Document = TypeVar("Document", bound=Model)


def read(path: Path, model: type[Document]) -> Document:
    """Read a published document, JSON or YAML.

    Args:
        path: the file.
        model: what it must be.

    Raises:
        UserError: no such file, or not a document of this schema.
    """
    try:
        text = path.read_text()
        data = yaml.safe_load(text) if path.suffix in {".yaml", ".yml"} else json.loads(text)
        return model.model_validate(data)
    except OSError as missing:
        raise UserError(f"The report {path} can't be read.", str(missing.strerror), "check its path") from None
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        why = f"{where}: {first['msg']}"
    except (yaml.YAMLError, ValueError) as broken:
        why = f"it is neither JSON nor YAML: {str(broken).splitlines()[0]}"
    raise UserError(f"{path} is not a {model.__name__}.", why, "give a file that a run of this suite has written")
