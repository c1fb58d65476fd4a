"""The JSON Schema of recipes: derived from the pydantic models, shipped for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetune.recipe import Recipe
from edgetune.stored import json_schema

#: The published schema, beside this module in every installation.
SCHEMA_FILE = Path(__file__).with_name("recipe.schema.json")


def recipe_schema() -> dict[str, Any]:
    """The schema, as plain values."""
    return json_schema(Recipe, "recipe")
