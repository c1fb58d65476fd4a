"""How the training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetune.report.cells import NARROW, megabytes, number_cell, short, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table

#: Most rows of a chart's table; the curves have every step.
ROWS = 120


def _definitions(unit: str) -> tuple[Definition, ...]:
    """What the figures mean of losses that are means over a unit."""
    of_what = "over the answer tokens" if unit == "token" else f"of each {unit}'s class, weighted where classes are,"
    counted = "tokens of the rows trained on (padding not counted)" if unit == "token" else f"{unit}s trained on"
    said = {
        "training loss": f"mean -ln p {of_what} of the batches since the line before, in nats per {unit}",
        "evaluation loss": f"the same over rows that are not trained on, in nats per {unit}; it chooses the checkpoint",
        f"{unit}s/s": f"{counted} / seconds of training, since the start",
    }
    return tuple(Definition(word=word, text=text) for word, text in said.items())


def training_section(evidence: Evidence) -> Section | None:
    """Losses, learning rate and speed over the steps."""
    steps = [entry for entry in evidence.entries if entry["event"] == "step"]
    evaluations = [entry for entry in evidence.entries if entry["event"] == "evaluation"]
    if not steps and not evaluations:
        return None
    own = evidence.run.rows_file("validation").is_file()
    where = "validation rows" if own else "held-out rows"
    task = evidence.recipe.task
    charts = [
        _losses(steps, evaluations, where, task.unit),
        *([_rates(steps, task.unit, task.speed_key)] if steps else []),
    ]
    return Section(
        id="training",
        title="Training",
        lead=_lead(evidence, where),
        charts=tuple(charts),
        tables=(_choices(evidence),) if evidence.manifest.choices else (),
        definitions=_definitions(task.unit),
    )


def _lead(evidence: Evidence, where: str) -> str:
    result, method, task = evidence.manifest.result, evidence.manifest.method, evidence.recipe.task
    if not result:
        return f"Method {method}; the training has not ended (state: {evidence.manifest.state})."
    memory = f", peak memory {megabytes(result['peak_rss'])}" if result.get("peak_rss") else ""
    best = ""
    if result.get("best_eval_loss") is not None:
        best = (
            f" The best evaluation loss, on {where}, is {short(result['best_eval_loss'])} nats per {task.unit}, "
            f"at step {result['best_step']}."
        )
    return (
        f"{method}, {result['steps']} steps in {result['seconds'] / 60:.1f}{NARROW}min, "
        f"{short(result[task.speed_key])} {task.unit}s/s{memory}.{best}"
    )


def _losses(
    steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], where: str, unit: str
) -> Chart:
    series = []
    if steps:
        x, y = (tuple(float(e[key]) for e in steps) for key in ("step", "loss"))
        series.append(Series(name="training", colour="c1", x=x, y=y))
    if evaluations:
        x, y = (tuple(float(e[key]) for e in evaluations) for key in ("step", "eval_loss"))
        series.append(Series(name=where, colour="c2", x=x, y=y, markers=True))
    last = f"; the last evaluation loss is {short(evaluations[-1]['eval_loss'])}" if evaluations else ""
    return Chart(
        id="training-loss",
        title="Loss",
        alt=f"Training loss and evaluation loss over the steps, on a logarithmic scale{last}",
        kind="lines",
        x_label="step",
        y_label=f"loss (nats per {unit})",
        log_y=all(value > 0 for one in series for value in one.y),
        series=tuple(series),
        table=_loss_table(steps, evaluations, where, unit),
    )


def _loss_table(
    steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], where: str, unit: str
) -> Table:
    kept, every = _thinned(steps)
    at_step = {entry["step"]: entry for entry in kept}
    judged = {entry["step"]: entry for entry in evaluations}
    rows = [
        (
            Cell(text=str(step), value=step),
            number_cell(at_step.get(step, {}).get("loss"), reason="no training loss was logged here"),
            number_cell(judged.get(step, {}).get("eval_loss"), reason="not evaluated here"),
        )
        for step in sorted({*at_step, *judged})
    ]
    names = ("step", "training loss", f"loss on {where}")
    return Table(
        id="training-loss-data",
        caption=f"Losses in nats per {unit}{every}",
        columns=tuple(Column(name=name) for name in names),
        rows=tuple(rows),
    )


def _rates(steps: Sequence[Mapping[str, Any]], unit: str, speed: str) -> Chart:
    kept, every = _thinned(steps)
    rows = [
        (
            Cell(text=str(entry["step"]), value=entry["step"]),
            number_cell(entry.get("learning_rate")),
            number_cell(entry.get(speed)),
        )
        for entry in kept
    ]
    x = tuple(float(entry["step"]) for entry in steps)
    rates = tuple(float(entry.get("learning_rate", 0.0)) for entry in steps)
    return Chart(
        id="training-rate",
        title="Learning rate",
        alt=f"Learning rate over the steps, at most {short(max(rates))}",
        kind="lines",
        x_label="step",
        y_label="learning rate",
        series=(Series(name="learning rate", colour="c1", x=x, y=rates),),
        table=Table(
            id="training-rate-data",
            caption=f"Learning rate, and {unit}s a second since the start{every}",
            columns=(Column(name="step"), Column(name="learning rate"), Column(name="speed", unit=f"{unit}s/s")),
            rows=tuple(rows),
        ),
    )


def _thinned(steps: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
    stride = -(-len(steps) // ROWS) or 1
    return steps[::stride], f"; every {stride}th logged step, metrics.jsonl has all" if stride > 1 else ""


def _choices(evidence: Evidence) -> Table:
    rows = [(text_cell(name), text_cell(reason)) for name, reason in sorted(evidence.manifest.choices.items())]
    columns = (Column(name="setting"), Column(name="choice and reason", long=True))
    return Table(id="choices", caption="What was chosen automatically", columns=columns, rows=tuple(rows))
