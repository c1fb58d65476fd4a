"""``edgetune merge``: which base the adapter belongs into, and the merged model as a folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console
from edgetune.merging import QUICK_ROWS, ROWS


@click.command("merge")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Choice(["auto", "base", "nf4"]),
    default="auto",
    show_default=True,
    help="Base as stored, or rounded to NF4 as in training. auto: what held-out rows say.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=ROWS, show_default=True, help="At most so many held-out rows."
)
@click.option("--quick", is_flag=True, help=f"At most {QUICK_ROWS} rows.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the merged model. Default: RUN/merged.")
@click.option("--write/--no-write", default=True, show_default=True, help="Write the model, or only store the choice.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def merge(run: Path, as_json: bool, **options: Path | str | int | bool | None) -> None:
    """Merge the adapter of RUN into the base it belongs into, as a Hugging Face folder.

    The trained model is evaluated on held-out rows unmerged, merged into the base as it is stored and,
    after QLoRA, merged into the base rounded to NF4. The choice and its reason are stored in the run as
    merge.json.
    """
    from edgetune.merging.merge import Wanted, merge
    from edgetune.merging.text import to_text
    from edgetune.run import open_run

    record = merge(open_run(run), Wanted(**options))  # type: ignore[arg-type]  # click has checked each type
    console.data(record.model_dump_json() if as_json else to_text(record))
