"""The table at the top: a row an artifact, what decides in columns."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.report.benchmark import find_figure
from edgetune.report.cells import absent, figure_cell, score_cell, share_cell, short, text_cell
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.quality import Quality
from edgetune.report.record import Candidate, Cell, Column, Recommendation, Table, Tone

#: Of the benchmark of what writes, and of what classifies, in this order.
_FIGURES = {
    "generation": (("ttft", "ms"), ("decode", "tokens/s"), ("peak_rss", "MB")),
    "classification": (("latency", "ms"), ("batch_rate", "inputs/s"), ("peak_rss", "MB")),
}
_TONES: dict[str, Tone] = {"recommended": "good", "passes": "", "fails": "bad", "unknown": "warn"}


def overview(evidence: Evidence, quality: Quality, recommendation: Recommendation) -> Table | None:
    """Every artifact, with what the rule says of it."""
    if not evidence.shipped:
        return None
    metric = quality.metric or "score"
    figures = _FIGURES["generation" if evidence.recipe.task.kind == "generation" else "classification"]
    columns = [
        Column(name="artifact"),
        Column(name="verdict"),
        Column(name=metric),
        Column(name="gain kept"),
        Column(name="size", unit="MB"),
        *(Column(name=name, unit=unit) for name, unit in figures),
    ]
    candidates = {one.name: one for one in recommendation.candidates}
    rows = tuple(_row(one, quality, candidates[one.label], [name for name, _ in figures]) for one in evidence.shipped)
    caption = (
        f"Artifacts{_asked(evidence.shipped, quality)}; medians, with intervals in [ ]: of scores 95 %, of speed and "
        "memory over their few rounds"
    )
    return Table(id="overview", caption=caption, columns=tuple(columns), rows=rows)


def _asked(shipped: Sequence[Shipped], quality: Quality) -> str:
    """How many rows each score is of: all that the artifact was asked, and not only those that others were too."""
    scores = {one.label: quality.own_score(one.label) for one in shipped if one.evaluation}
    rows = {label: score.n for label, score in scores.items() if score}
    if not rows:
        return ""
    if len(set(rows.values())) == 1:
        return f", asked {next(iter(rows.values()))} rows"
    return f", asked {', '.join(f'{count} rows ({label})' for label, count in rows.items())}"


def _row(one: Shipped, quality: Quality, candidate: Candidate, figures: Sequence[str]) -> tuple[Cell, ...]:
    gain = quality.gain(one)
    size = one.size_bytes / 1e6
    return (
        text_cell(one.label),
        text_cell(candidate.verdict, _TONES[candidate.verdict]),
        score_cell(quality.own_score(one.label)) if one.evaluation else absent("not evaluated"),
        share_cell(gain.value, gain.low, gain.high, gain.reason),
        Cell(text=short(size), value=size),
        *(figure_cell(find_figure(one.bench, name)) for name in figures),
    )
