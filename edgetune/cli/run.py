"""``edgetune run``: the whole way, from a recipe to measured artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetune import console
from edgetune.cli.options import RecipeCommand, resolve_recipe
from edgetune.cli.verify import require_verified

if TYPE_CHECKING:
    from edgetune.cli.options import Overrides


@click.command("run", cls=RecipeCommand)
@click.argument("recipe")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Run folder. Default: runs/NAME-HASH.")
@click.option("--allow-scripts", is_flag=True, help="Let the recipe run a data script that is not edgetune's own.")
def run(recipe: str, overrides: Overrides, output: Path | None, allow_scripts: bool) -> None:
    """Train, export, evaluate, verify, measure and report as RECIPE says.

    RECIPE is a file, or the name of a recipe that comes with edgetune. Called again with the
    same settings it goes on where it stopped. Every setting of the recipe is an option; an
    option wins over the environment (EDGETUNE_ and its name, as in EDGETUNE_LEARNING_RATE),
    the environment over the recipe. Exit code 9 where an artifact is not the trained model, or
    where the recipe has a target or an SLO, requires it, and no artifact meets all of it.
    """
    from edgetune.sources import default_folder
    from edgetune.targets.judging import require_one_met

    resolved = resolve_recipe(recipe, overrides)
    from edgetune import pipeline  # after the recipe is known to be good: it loads the trainer

    result = pipeline.run_recipe(resolved, output or default_folder(resolved), allow_scripts=allow_scripts)
    console.data(result.to_text())
    require_verified(result.unverified)
    if resolved.recipe.bench.required:
        require_one_met(result.verdicts)
