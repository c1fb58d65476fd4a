"""``edgetune suggest``: a first guess at modules and rank, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetune import console
from edgetune.cli.options import RecipeCommand, resolve_recipe
from edgetune.sensitivity import ROWS

if TYPE_CHECKING:
    from edgetune.cli.options import Overrides


@click.command("suggest", cls=RecipeCommand)
@click.argument("recipe")
@click.option("--rows", type=click.IntRange(8), default=ROWS, show_default=True, help="Training rows to look at.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write a recipe with what is proposed.")
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, every layer's figures included.")
@click.option("--allow-scripts", is_flag=True, help="Let the recipe run a data script that is not edgetune's own.")
def suggest(
    recipe: str, overrides: Overrides, rows: int, output: Path | None, force: bool, as_json: bool, allow_scripts: bool
) -> None:
    """Guess which layers an adapter for RECIPE should change, and at which rank.

    Gradients of a few training rows at the base's own weights say where the task pulls. Nothing is trained, and
    neither validation nor held-out rows are looked at. The figures are stored in suggestions/; `edgetune sweep`
    measures what this guesses.
    """
    from edgetune.sensitivity.suggesting import Wanted, suggest
    from edgetune.sensitivity.text import to_text

    found = suggest(resolve_recipe(recipe, overrides), Wanted(rows, output, force, allow_scripts))
    console.data(found.suggestion.model_dump_json(indent=1) if as_json else to_text(found.suggestion))
    console.note(f"stored: {found.file}")
    if found.recipe is not None:
        console.note(f"next: edgetune run {found.recipe}")
    elif output is not None:
        console.note(f"{output} was not written: nothing is proposed")
