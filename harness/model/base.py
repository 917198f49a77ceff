"""What all models of the observation have in common."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_validator

from harness.base.redaction import redacted


class Model(BaseModel):
    """Frozen data; unknown keys are errors; described field by field, so that a JSON Schema can be made of it.

    No field holds a private key or a token: what looks like one is hidden when the model is made or copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="after")
    @classmethod
    def _hide_secrets(cls, value: Any) -> Any:
        return redacted(value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed; as ever with pydantic, these are not validated."""
        return super().model_copy(update=redacted(update) if update else None, deep=deep)
