"""``edgetune eval``: how good a model is on rows it never saw."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgetune import console


@click.command("eval")
@click.argument("subject")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to evaluate on. Default: the run's held-out rows.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many rows, chosen by seed.")
@click.option("--base/--no-base", default=True, show_default=True, help="Also show the untuned base.")
@click.option("--artifacts", is_flag=True, help="Also evaluate what the run exported.")
@click.option("--again", is_flag=True, help="Compute it even if the same evaluation is stored.")
@click.option("--misses", type=click.IntRange(min=0), default=5, show_default=True, help="Worst misses to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every answer.")
def eval_(subject: str, misses: int, as_json: bool, **options: Path | int | bool | None) -> None:
    """Measure loss and task metrics of SUBJECT on rows that were never trained on.

    SUBJECT is a run folder (its tuned model against its base), an artifact (against what is
    stored of its run), or a model: a hub id, a folder, a .gguf file or pkg:PACKAGE/FILE.
    """
    from edgetune.evaluation.report import Wanted, report
    from edgetune.evaluation.text import to_text

    found = report(subject, Wanted(**options))  # type: ignore[arg-type]  # click has checked each type
    console.data(json.dumps(found.to_json(), ensure_ascii=False) if as_json else to_text(found, misses))
