"""``edgetune recipes``: the recipes that come with edgetune."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console


@click.group("recipes")
def recipes() -> None:
    """List, show or copy the recipes that come with edgetune."""


@recipes.command("list")
def list_() -> None:
    """List the recipes with their descriptions."""
    from edgetune.recipes import shipped_recipes

    found = shipped_recipes()
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        console.data(f"{recipe.name:<{width}}  {recipe.read().description}")


@recipes.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the recipe called NAME."""
    from edgetune.recipes import shipped_recipe

    console.data(shipped_recipe(name).file.read_text(encoding="utf-8").rstrip())


@recipes.command()
@click.argument("name")
@click.argument("destination", required=False, type=click.Path(path_type=Path))
def copy(name: str, destination: Path | None) -> None:
    """Copy the recipe called NAME into the folder DESTINATION, to change it there."""
    from edgetune.recipes import RECIPE_FILE, copy_recipe

    folder = copy_recipe(name, destination)
    console.note(f"copied; now: edgetune run {folder / RECIPE_FILE}")
    console.data(str(folder / RECIPE_FILE))
