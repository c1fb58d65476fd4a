"""A sweep in two pictures: what matters, and what is worth its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetune import files
from edgetune.report.cells import number_cell, text_cell
from edgetune.report.drawing import as_png
from edgetune.report.record import Chart, Column, Series, Table
from edgetune.sweep.figures import front
from edgetune.sweep.record import Sweep, TrialRecord


def write_charts(sweep: Sweep, folder: Path) -> list[Path]:
    """Draw what there is to draw; returns the files.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    charts = [chart for chart in (front_chart(sweep), importance_chart(sweep)) if chart is not None]
    for chart in charts:
        with files.atomic_path(folder / f"{chart.id}.png") as temporary:
            temporary.write_bytes(as_png(chart))
    return [folder / f"{chart.id}.png" for chart in charts]


def importance_chart(sweep: Sweep) -> Chart | None:
    """Each setting's importance with its interval; None where nothing can be said."""
    found = sweep.importance
    if not found:
        return None
    names = tuple(one.setting for one in found)
    shares, lows, highs = (tuple(getattr(one, end) for one in found) for end in ("share", "low", "high"))
    rows = tuple((text_cell(one.setting), number_cell(one.share, one.low, one.high)) for one in found)
    return Chart(
        id="sweep-importance",
        title="Which settings matter",
        alt=f"importance of {', '.join(names)}, each with its interval",
        kind="dots",
        x_label="importance (share)",
        categories=names,
        series=(Series(name="importance", colour="c1", x=shares, low=lows, high=highs),),
        table=_table("importance", ("setting", "share"), rows),
    )


def front_chart(sweep: Sweep) -> Chart | None:
    """Loss against trained weights, the front filled; None before a trial is complete."""
    known = [trial for trial in sweep.complete if trial.trainable_parameters is not None]
    if not known:
        return None
    best = front(known)
    marked = {trial.number for trial in known if trial.origin in ("recipe", "suggested")}
    groups = {
        "on the front": [trial for trial in known if trial.number in best],
        "the others": [trial for trial in known if trial.number not in best],
        **{
            name: [trial for trial in known if trial.number in marked and trial.origin == name]
            for name in ("recipe", "suggested")
        },
    }
    colours = {"on the front": "c1", "the others": "muted", "recipe": "c2", "suggested": "c3"}
    series = tuple(_series(name, colours[name], some) for name, some in groups.items() if some)
    rows = tuple(
        (text_cell(str(trial.number)), number_cell(_thousands(trial)), number_cell(trial.reached)) for trial in known
    )
    return Chart(
        id="sweep-front",
        title="Loss against trained weights",
        alt=f"loss on validation rows against trained weights of {len(known)} trials; filled marks are on the front",
        kind="points",
        x_label="trained weights (thousands, fewer is better)",
        y_label="loss on validation rows (lower is better)",
        series=series,
        table=_table("front", ("trial", "trained weights (thousands)", "loss"), rows),
    )


def _series(name: str, colour: str, trials: Sequence[TrialRecord]) -> Series:
    return Series(
        name=name,
        colour=colour,
        x=tuple(_thousands(trial) for trial in trials),
        y=tuple(trial.reached for trial in trials),
        hollow=name != "on the front",
        markers=True,
    )


def _thousands(trial: TrialRecord) -> float:
    return (trial.trainable_parameters or 0) / 1000


def _table(id: str, columns: Sequence[str], rows: tuple[tuple[object, ...], ...]) -> Table:
    return Table.model_validate(
        {"id": f"sweep-{id}-data", "caption": id, "columns": [Column(name=name) for name in columns], "rows": rows}
    )
