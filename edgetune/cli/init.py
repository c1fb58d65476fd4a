"""``edgetune init``: a commented recipe for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetune import console

#: Warnings that are shown; `edgetune data check` shows more.
SHOWN = 10


@click.command("init")
@click.argument("data")
@click.option("--model", metavar="SOURCE", help="Base model; its tokenizer then counts tokens. Default: a small one.")
@click.option(
    "--task",
    type=click.Choice(["generation", "text-classification", "image-classification"]),
    help="What the rows are for. Default: what their keys say, or that they are a folder of folders of images.",
)
@click.option("--text-column", metavar="NAME", help="Rows with a class: what the file calls the text.")
@click.option("--image-column", metavar="NAME", help="Rows with a class: what the file calls the image's path.")
@click.option("--label-column", metavar="NAME", help="Rows with a class: what the file calls the class.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipe.yaml"),
    show_default=True,
    help="The recipe to write.",
)
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
def init(data: str, task: Any, output: Path, model: str | None, force: bool, **columns: str | None) -> None:
    """Look at DATA, write a recipe for it, and print the recipe's path.

    DATA is a .jsonl, .json, .csv, .parquet or .txt file, a datasets folder, or hub:ID; of images
    also a folder that holds a folder of them for each class. Every value of the recipe has a
    comment that says why.
    """
    from edgetune.data.initialise import write_recipe
    from edgetune.data.kinds import kind_of

    kind = kind_of(data, task, {key.removesuffix("_column"): name for key, name in columns.items()})
    proposal = write_recipe(data, output, kind=kind, model=model, force=force)
    for advice in proposal.advice:
        console.note(f"{advice.key} = {advice.value}: {advice.why}")
    for problem in proposal.warnings[:SHOWN]:
        console.note(f"warning: {problem}")
    if (more := len(proposal.warnings) - SHOWN) > 0:
        console.note(f"warning: {more} more: edgetune data check {data}")
    console.note(f"next: edgetune run {proposal.path}")
    console.data(str(proposal.path))
