"""What the sections of a recipe are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]

#: Marks a text that may be a path: relative to the recipe's folder, or on the command line to the current one.
MAY_BE_PATH: dict[str, Any] = {"format": "path"}


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values are frozen, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
