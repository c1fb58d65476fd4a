"""``edgetune recipe``: check a recipe file, print the schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgetune import console


@click.group("recipe")
def recipe() -> None:
    """Check a recipe file, or print the schema of recipes."""


@recipe.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE against the schema and look for what it names; print every problem."""
    from edgetune.realtime.wanted import wanted_by_recipe
    from edgetune.recipe import resolve
    from edgetune.recipes import check_recipe

    name = check_recipe(file).name
    wanted_by_recipe(resolve(file))
    console.data(f"{file} is a valid recipe: {name}")


@recipe.command()
def schema() -> None:
    """Print the JSON Schema of recipes, which lets editors complete and check them."""
    from edgetune.schema import recipe_schema

    console.data(json.dumps(recipe_schema(), indent=2))
