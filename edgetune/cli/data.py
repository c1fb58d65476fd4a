"""``edgetune data``: look at data files before training on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgetune import console


@click.group("data")
def data() -> None:
    """Check data files."""


@data.command()
@click.argument("file")
@click.option("--heldout", metavar="FILE", help="Rows held out; also look for them in FILE.")
@click.option("--validation", metavar="FILE", help="Rows that choose the checkpoint; also look for them in FILE.")
@click.option("--model", metavar="SOURCE", help="Count this model's tokens and apply its chat template.")
@click.option("--system", metavar="TEXT", help="System prompt for conversations that have none.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest row. Default: the context, at most 2048.")
@click.option("--format", default="auto", show_default=True, help="How rows are laid out; auto looks at the keys.")
@click.option("--text-column", metavar="NAME", help="Rows with a class: what the file calls the text.")
@click.option("--image-column", metavar="NAME", help="Rows with a class: what the file calls the image's path.")
@click.option("--label-column", metavar="NAME", help="Rows with a class: what the file calls the class.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def check(
    file: str,
    heldout: str | None,
    validation: str | None,
    format: str,
    text_column: str | None,
    image_column: str | None,
    label_column: str | None,
    as_json: bool,
    **of_model: Any,
) -> None:
    """Check FILE and print what is in it.

    FILE is a .jsonl, .json, .csv, .parquet or .txt file, a datasets folder, or hub:ID; of
    images also a folder that holds a folder of them for each class. Rows that cannot be used,
    and held-out rows that training has seen, are errors: the exit code is 4 and
    each is named with its line. Warnings leave the exit code at 0.
    """
    from edgetune.data.checking import check_data
    from edgetune.data.kinds import layout_of
    from edgetune.data.printing import print_report

    kind = layout_of(file, format, {"text": text_column, "image": image_column, "label": label_column})
    files = {"heldout": heldout, "validation": validation}
    model = _model(**of_model)
    report = check_data(file, **files, format=kind.layout, columns=kind.columns, records=kind.records, model=model)
    if as_json:
        console.data(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(report)
    report.raise_on_errors()


def _model(model: str | None, system: str | None, max_tokens: int | None) -> Any:
    """The model to check for, if one was named.

    Raises:
        click.UsageError: options that need a model were given without one.
    """
    from edgetune.data.checking import load_model

    if model is not None:
        return load_model(model, Path.cwd(), max_tokens=max_tokens, system=system)
    if system is not None or max_tokens is not None:
        raise click.UsageError("--system and --max-tokens need --model: without it, characters are counted")
    return None
