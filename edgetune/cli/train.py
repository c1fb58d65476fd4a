"""``edgetune train``: from a recipe to a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetune import console
from edgetune.cli.options import RecipeCommand, resolve_recipe

if TYPE_CHECKING:
    from edgetune.cli.options import Overrides


@click.command("train", cls=RecipeCommand)
@click.argument("recipe", required=False)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Run folder. Default: runs/NAME-HASH.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with an interrupted run.")
@click.option("--allow-scripts", is_flag=True, help="Let the recipe run a data script that is not edgetune's own.")
def train(
    recipe: str | None, overrides: Overrides, output: Path | None, resume: Path | None, allow_scripts: bool
) -> None:
    """Train a model as RECIPE says and print the run folder.

    RECIPE is a file, or the name of a recipe that comes with edgetune. Every setting of the
    recipe is an option; an option wins over the environment (EDGETUNE_ and its name, as in
    EDGETUNE_LEARNING_RATE), the environment over the recipe.
    """
    from edgetune import training
    from edgetune.sources import default_folder

    if resume is not None:
        reject_with_resume(recipe, overrides, output)
        tell_unused_variables(overrides)
        run = training.resume(resume)
    else:
        resolved = resolve_recipe(recipe, overrides)
        run = training.train(resolved, output or default_folder(resolved), allow_scripts=allow_scripts)
    if os.environ.get("RANK", "0") == "0":  # under a launcher each process is a command; one result is enough
        console.note(f"next: edgetune eval {run.folder}")
        console.data(str(run.folder))


def reject_with_resume(recipe: str | None, overrides: Overrides, output: Path | None) -> None:
    """A resumed run has its settings: nothing may be given beside it.

    Raises:
        click.UsageError: something was.
    """
    flags = [key for key, (_, origin) in overrides.items() if origin == "flag"]
    if recipe or flags or output:
        raise click.UsageError("--resume takes its recipe and settings from the run: give nothing else")


def tell_unused_variables(overrides: Overrides) -> None:
    """Variables left over in the shell neither change nor forbid a resumed run; that is said."""
    from edgetune.cli.options import variable

    unused = [variable(key) for key, (_, origin) in overrides.items() if origin == "environment"]
    if unused:
        console.note(f"note: a resumed run keeps its settings; not used: {', '.join(unused)}")
