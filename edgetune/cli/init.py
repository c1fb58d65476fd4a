"""``edgetune init``: a commented recipe for a data file."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console


@click.command("init")
@click.argument("data")
@click.option("--model", metavar="SOURCE", help="Base model; its tokenizer then counts tokens. Default: SmolLM2-135M.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipe.yaml"),
    show_default=True,
    help="The recipe to write.",
)
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
def init(data: str, model: str | None, output: Path, force: bool) -> None:
    """Look at DATA, write a recipe for it, and print the recipe's path.

    DATA is a .jsonl, .json, .csv, .parquet or .txt file, a datasets folder, or hub:ID. Every
    value of the recipe has a comment that says why.
    """
    from edgetune.data.initialise import write_recipe

    proposal = write_recipe(data, output, model=model, force=force)
    for advice in proposal.advice:
        console.note(f"{advice.key} = {advice.value}: {advice.why}")
    console.note(f"next: edgetune run {proposal.path}")
    console.data(str(proposal.path))
