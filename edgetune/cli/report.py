"""``edgetune report``: a run's evidence as one page, with a recommendation."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    type=click.Choice(["html", "md", "json", "csv"]),
    default="html",
    show_default=True,
    help="html is written, with its charts as PNG; the others are printed.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Of html: the folder; default: report in RUN. Of the others: a file to write instead of printing.",
)
def report(run: Path, format: str, output: Path | None) -> None:
    """Say what is known of RUN and which artifact to ship, from what is stored in its folder.

    Nothing is measured: what is missing is named with the command that makes it. The HTML file needs
    nothing beside it, and no network.
    """
    from edgetune.report.writing import print_report

    console.data(print_report(run, format, output))
