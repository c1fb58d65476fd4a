"""The JSON Schema of recipes: derived from the pydantic models, shipped for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetune.recipe import Recipe

#: The published schema, beside this module in every installation.
SCHEMA_FILE = Path(__file__).with_name("recipe.schema.json")


def recipe_schema() -> dict[str, Any]:
    """The schema, as plain values."""
    schema = Recipe.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "edgetune recipe"}
