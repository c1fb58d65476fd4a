"""``edgetune sweep``: many trainings of a recipe, the best of which becomes a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetune import console
from edgetune.cli.lists import INTEGERS, WORDS
from edgetune.cli.options import RecipeCommand, resolve_recipe

if TYPE_CHECKING:
    from edgetune.cli.options import Overrides


@click.command("sweep", cls=RecipeCommand)
@click.argument("recipe")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder. Default: sweeps/NAME-HASH.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long, and save what runs.")
@click.option(
    "--trials", type=click.IntRange(0), help="Stop when so many are complete or pruned, earlier calls included."
)
@click.option(
    "--trial-minutes", type=click.FloatRange(0, min_open=True), help="Limit of one training. Default: the recipe's."
)
@click.option("--trial-steps", type=click.IntRange(1), help="The same in steps, which compares trials best.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Trainings at a time.")
@click.option("--storage", metavar="FILE|URL", help="Shared by several machines. Default: a journal in the folder.")
@click.option("--methods", type=WORDS, default=(), help="To try beside the recipe's. Default: dora.")
@click.option("--ranks", type=INTEGERS, default=(), help="To try beside the recipe's. Default: 2 to 64 by doubling.")
@click.option(
    "--rates",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    help="Learning rates: up and down so many times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--allow-scripts", is_flag=True, help="Let the recipe run a data script that is not edgetune's own.")
def sweep(recipe: str, overrides: Overrides, output: Path | None, as_json: bool, **given: Any) -> None:
    """Try methods, ranks, alphas, target modules and learning rates for RECIPE, and write the best as a recipe.

    Trials are chosen by their loss on validation rows; where the recipe has none, some training rows become them.
    Held-out rows are never looked at. The first trial is the recipe as it is, the second what `edgetune suggest`
    proposes; worse ones are stopped early. Called again, it goes on. A trial that fails is noted and the
    sweep goes on, unless most do.
    """
    from edgetune.sweep.sweeping import sweep
    from edgetune.sweep.text import to_text
    from edgetune.sweep.wanted import wanted_of

    done = sweep(resolve_recipe(recipe, overrides), wanted_of(**given), output)
    console.data(done.sweep.model_dump_json(indent=1) if as_json else to_text(done.sweep))
    console.note(f"stored: {done.folder}")
    if done.best_recipe is not None:
        console.note(f"next: edgetune run {done.best_recipe}")
