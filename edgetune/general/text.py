"""General ability as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgetune.evaluation.compare import Comparison
from edgetune.evaluation.text import bare_table, differences_table, number, printed
from edgetune.general.record import GeneralEvaluation
from edgetune.general.report import GeneralReport

if TYPE_CHECKING:
    from rich.table import Table


def to_text(report: GeneralReport, width: int | None = None) -> str:
    """Figures with intervals, what moved, and what the figures mean.

    Args:
        report: what was found.
        width: of the screen; default: as rich finds it.
    """
    tables = [_figures(report.evaluations), *map(differences_table, report.comparisons)]
    return printed(tables, _lines(report), width)


def _figures(evaluations: Sequence[GeneralEvaluation]) -> Table:
    table = bare_table("", "figure", "items", *(f"{one.subject}\n{one.basis.runtime}" for one in evaluations))
    for name in dict.fromkeys(score.name for one in evaluations for score in one.scores):
        scores = [{score.name: score for score in one.scores}.get(name) for one in evaluations]
        items = "/".join(dict.fromkeys(str(score.n) for score in scores if score))
        cells = [f"{number(s.value)} \\[{number(s.low)}, {number(s.high)}]" if s else "" for s in scores]
        table.add_row(name, items, *cells)
    return table


def _lines(report: GeneralReport) -> list[str]:
    lines = ["", "[ ] are 95 % intervals: Wilson's for shares, else a bootstrap; of differences, over paired items"]
    definitions = {score.name: score.definition for one in report.evaluations for score in one.scores}
    lines += [f"  {name}: {definition}" for name, definition in definitions.items()]
    for comparison in report.comparisons:
        lines += ["", summary(comparison), *(f"  {note}" for note in comparison.notes)]
    notes = dict.fromkeys(f"{one.subject}: {note}" for one in report.evaluations for note in one.notes)
    return [*lines, "", *notes, *report.remarks]


def summary(comparison: Comparison) -> str:
    """What became of the questions, in one sentence."""
    return (
        f"{comparison.before} → {comparison.after} on {comparison.n} questions: {comparison.lost} right answers became "
        f"wrong, {comparison.gained} wrong ones right ({comparison.test}: p = {comparison.p_value:.2g})"
    )
