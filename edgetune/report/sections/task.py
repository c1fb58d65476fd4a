"""Base, tuned model and artifacts at the task."""

from __future__ import annotations

from edgetune.evaluation.compare import Comparison, Difference, compare
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.text import intervals_text
from edgetune.report.cells import NOTHING, score_cell, score_number, share_cell, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.quality import BASE, TUNED, Quality, find_score, only
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table


def task_section(evidence: Evidence, quality: Quality) -> Section | None:
    """Scores of all, on the rows that all have and on their own, and what moved."""
    if not quality.evaluations:
        return None
    everyone = list(quality.evaluations.values())
    tables = []
    if len({one.n for one in everyone}) > 1 or not quality.common_rows:
        tables.append(_scores("scores-own", "Each on all the rows it was evaluated on", quality.evaluations))
    gains = _gains(evidence, quality)
    tables += [table for table in (gains, _moves(evidence, quality.metric)) if table]
    definitions = {score.name: score.definition for one in everyone for score in one.scores}
    definitions["gain kept"] = "(artifact - base) / (tuned - base) of the metric, on the rows that all three have"
    notes = _interval_notes(quality)
    notes += [f"{name}: {note}." for name, one in quality.evaluations.items() for note in one.notes]
    return Section(
        id="task",
        title="Task quality",
        lead=_lead(quality),
        charts=_charts(quality),
        tables=tuple(tables),
        notes=tuple(notes),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _interval_notes(quality: Quality) -> list[str]:
    """How the intervals were made, each note with the models and rows that it is about."""
    found: dict[str, list[str]] = {}
    for name, one in quality.on_common.items():
        found.setdefault(f"on the {one.n} rows that all have, {intervals_text(one)}", []).append(name)
    for name, one in quality.evaluations.items():
        if one.n != len(quality.common_rows):
            found.setdefault(f"on all its {one.n} rows, {intervals_text(one)}", []).append(name)
    return [f"[ ] are 95 % intervals. {', '.join(names)}: {how}." for how, names in found.items()]


def _lead(quality: Quality) -> str:
    scores = {name: score for name in quality.evaluations if (score := quality.score(name))}
    rows = f" on the {len(quality.common_rows)} held-out rows that all were evaluated on" if quality.common_rows else ""
    lower = " (lower is better)" if quality.lower_is_better else ""
    base, tuned = scores.get(BASE), scores.get(TUNED)
    if base and tuned:
        moved = f"goes from {score_number(base.value)} (untuned base) to {score_number(tuned.value)} (tuned)"
        others = [f"{name} {score_number(score.value)}" for name, score in scores.items() if name not in (BASE, TUNED)]
        return f"{quality.metric}{lower} {moved}{rows}." + (f" Exported: {', '.join(others)}." if others else "")
    parts = [f"{name} {score_number(score.value)}" for name, score in scores.items()]
    return f"{quality.metric}{lower}{rows}: {', '.join(parts)}."


def _charts(quality: Quality) -> tuple[Chart, ...]:
    if not quality.on_common or quality.metric is None:
        return ()
    names = tuple(quality.on_common)
    scores = [find_score(one, quality.metric) for one in quality.on_common.values()]
    count = len(quality.common_rows)
    series = Series(
        name=quality.metric,
        colour="c1",
        x=tuple(score.value if score else None for score in scores),
        low=tuple(score.low if score else None for score in scores),
        high=tuple(score.high if score else None for score in scores),
        markers=True,
    )
    caption = f"All figures on the {count} rows that all were evaluated on"
    chart = Chart(
        id="task-quality",
        title=f"{quality.metric} with 95 % intervals, {count} held-out rows",
        alt=f"{quality.metric} of {', '.join(names)}, each a dot with its 95 % interval",
        kind="dots",
        x_label=f"{quality.metric}{' (lower is better)' if quality.lower_is_better else ''}",
        categories=names,
        series=(series,),
        table=_scores("scores-common", caption, quality.on_common),
    )
    return (chart,)


def _scores(id: str, caption: str, evaluations: dict[str, Evaluation]) -> Table:
    names = dict.fromkeys(score.name for one in evaluations.values() for score in one.scores)
    columns = [
        Column(name="model"),
        Column(name="runtime"),
        Column(name="rows"),
        *(Column(name=name) for name in names),
    ]
    rows = [
        (
            text_cell(label),
            text_cell(one.runtime),
            Cell(text=str(one.n), value=one.n),
            *(score_cell(find_score(one, name), "not one of its figures") for name in names),
        )
        for label, one in evaluations.items()
    ]
    return Table(id=id, caption=caption, columns=tuple(columns), rows=tuple(rows))


def _gains(evidence: Evidence, quality: Quality) -> Table | None:
    """What each artifact keeps of the gain."""
    rows = []
    for one in evidence.shipped:
        gain = quality.gain(one)
        rows.append(
            (
                text_cell(one.label),
                share_cell(gain.value, gain.low, gain.high, gain.reason),
                Cell(text=str(gain.rows), value=gain.rows) if gain.rows else text_cell(NOTHING, "quiet"),
                text_cell(gain.source or gain.reason),
            )
        )
    columns = (Column(name="artifact"), Column(name="gain kept"), Column(name="rows"), Column(name="from"))
    caption = f"Share of the gain in {quality.metric} that each artifact keeps"
    return Table(id="gains", caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def _moves(evidence: Evidence, metric: str | None) -> Table | None:
    """Paired comparisons: what the export changed in the tuned model, what the tuning changed in the base."""
    pairs = [(BASE, evidence.base, "tuned", evidence.tuned)]
    pairs += [("tuned", evidence.tuned, one.label, one.evaluation) for one in evidence.shipped]
    rows = []
    for before_name, before, after_name, after in pairs:
        if before is None or after is None or not _share_rows(before, after):
            continue
        found = compare(only(before, "loss", metric), only(after, "loss", metric))
        rows += _moved(f"{before_name} → {after_name}", found)
    names = ("step", "figure", "rows", "before", "after", "difference", "sure", "wrong → right", "right → wrong")
    caption = "What moved, paired by row"
    return (
        Table(id="moves", caption=caption, columns=tuple(Column(name=name) for name in names), rows=tuple(rows))
        if rows
        else None
    )


def _share_rows(before: Evaluation, after: Evaluation) -> bool:
    rows = {answer.row for answer in before.answers} & {answer.row for answer in after.answers}
    return bool(rows) and before.basis.data_sha256 == after.basis.data_sha256


def _moved(step: str, found: Comparison) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for one in found.differences:
        text = f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        rows.append(
            (
                text_cell(step),
                text_cell(one.name),
                Cell(text=str(found.n), value=found.n),
                Cell(text=score_number(one.before), value=one.before),
                Cell(text=score_number(one.after), value=one.after),
                Cell(text=text, value=one.value, low=one.low, high=one.high),
                _sure(one),
                Cell(text=str(found.gained), value=found.gained),
                Cell(text=str(found.lost), value=found.lost),
            )
        )
    return rows


def _sure(one: Difference) -> Cell:
    if one.low == one.high == 0:
        return text_cell("all rows alike", "quiet")
    return text_cell("yes") if one.certain else text_cell("could be chance", "quiet")
