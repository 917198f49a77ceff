"""What all models of the observation have in common."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen data; unknown keys are errors; described field by field, so that a JSON Schema can be made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
