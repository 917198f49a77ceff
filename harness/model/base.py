"""What all models of the observation have in common."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from textwrap import dedent
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from harness.base.redaction import PLAIN, redacted


def described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put the docstring of each field into a model's JSON Schema.

    Pydantic's `use_attribute_docstrings` reads the source of every model whenever it is imported: a third of the time
    in which the suite starts. Hardly a run makes a schema.
    """
    for declared in reversed(model.__mro__):
        if issubclass(declared, Model):
            for name, text in _docstrings(declared):
                schema["properties"][name]["description"] = text


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (made,) = ast.parse(dedent(inspect.getsource(model))).body
    for field, text in pairwise(made.body if isinstance(made, ast.ClassDef) else ()):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, inspect.cleandoc(said)


class Model(BaseModel):
    """Frozen data; unknown keys are errors; described field by field, so that a JSON Schema can be made of it.

    No field holds a private key or a token: what looks like one is hidden when the model is made or copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=described)

    @model_validator(mode="after")
    def _hide_secrets(self) -> Self:
        # One call for a model, and not one for each of its fields: an observation has ten thousand.
        fields = self.__dict__
        for name, value in fields.items():
            if type(value) not in PLAIN:
                fields[name] = redacted(value)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed; as ever with pydantic, these are not validated."""
        return super().model_copy(update=redacted(update) if update else None, deep=deep)
