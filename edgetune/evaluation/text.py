"""Evaluations as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgetune.evaluation.compare import Comparison
from edgetune.evaluation.figures import part
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import NOTHING_RAN, Answer, Evaluation, worst
from edgetune.evaluation.report import Report

if TYPE_CHECKING:
    from rich.table import Table

#: Longest prompt or answer shown of a miss.
SHOWN = 400


def to_text(report: Report, misses: int, width: int | None = None) -> str:
    """Figures with intervals, what moved, what the figures mean, and the worst misses of the last subject.

    Args:
        report: what was found.
        misses: how many to show.
        width: of the screen; default: as rich finds it.
    """
    tables = [_figures(report.evaluations), *map(differences_table, report.comparisons)]
    shown = misses_text(report.evaluations[-1], misses, report.evaluations[0]) if report.evaluations else ""
    return printed(tables, [*_lines(report), *([f"\n{shown}"] if shown else [])], width)


def printed(tables: Sequence[Table], lines: Sequence[str], width: int | None = None) -> str:
    """Tables, then lines as they are, without trailing blanks.

    Args:
        tables: one below the other.
        lines: never broken.
        width: of the screen; default: as rich finds it.
    """
    from rich.console import Console

    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def intervals_text(evaluation: Evaluation) -> str:
    """How the intervals of an evaluation were made."""
    if evaluation.groups is None:
        return "Wilson's for shares, else a bootstrap over rows"
    return f"a bootstrap over {evaluation.groups} groups of alike rows; Wilson's for shares of 0 and 1"


def score_lines(title: str, evaluation: Evaluation, beside: Evaluation | None = None) -> list[str]:
    """Figures with intervals, one a line, under a heading that says on which rows.

    Args:
        title: what was evaluated.
        evaluation: of it.
        beside: an evaluation to be read next to this one. Where the rows differ, the figures on the rows that both
            have come first, and then those on all of its own.
    """
    if beside is None or beside.basis.data_sha256 != evaluation.basis.data_sha256:
        return _block(title, "", evaluation)
    common = part(evaluation, beside.basis.rows)
    same = "the same " if common.n == beside.n else f"of the same {beside.n}: "
    own = [] if common.n == evaluation.n else _block(title, "all ", evaluation)
    return [*_block(title, same, common), *own]


def _block(title: str, which: str, evaluation: Evaluation) -> list[str]:
    groups = f" in {evaluation.groups} groups" if evaluation.groups is not None else ""
    heading = f"{title} ({which}{evaluation.n} held-out rows{groups}{_in(evaluation)})"
    width = max([20, *(len(score.name) for score in evaluation.scores)])
    return [heading, *(f"  {s.name:<{width}}  {s.value:.4f}  [{s.low:.4f}, {s.high:.4f}]" for s in evaluation.scores)]


def _figures(evaluations: Sequence[Evaluation]) -> Table:
    table = bare_table("", "figure", *(_heading(evaluation) for evaluation in evaluations))
    names = dict.fromkeys(score.name for evaluation in evaluations for score in evaluation.scores)
    for name in names:
        cells = [{score.name: score for score in evaluation.scores}.get(name) for evaluation in evaluations]
        table.add_row(name, *(_with_interval(score) if score else "" for score in cells))
    return table


def bare_table(title: str, *headings: str) -> Table:
    """A table without lines between columns: three subjects with their intervals fit into 80 characters."""
    from rich import box
    from rich.table import Table

    return Table(
        *headings,
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def _heading(evaluation: Evaluation) -> str:
    return f"{evaluation.subject}\n{evaluation.n} rows{_in(evaluation)}"


def _in(evaluation: Evaluation) -> str:
    """What it ran in; a class that is always the same runs in nothing."""
    return "" if evaluation.runtime == NOTHING_RAN else f", {evaluation.runtime}"


def _with_interval(score: Score) -> str:
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]".replace("[", "\\[")


def number(value: float) -> str:
    """Three decimals, fewer for large figures.

    >>> number(0.91234), number(48.25), number(12345.6)
    ('0.912', '48.2', '1.23e+04')
    """
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def differences_table(comparison: Comparison) -> Table:
    """What moved, with paired intervals."""
    title = f"\n{comparison.before} → {comparison.after}"
    table = bare_table(title, "figure", "before", "after", "difference", "")
    for difference in comparison.differences:
        interval = f"{difference.value:+.3f} \\[{difference.low:+.3f}, {difference.high:+.3f}]"
        verdict = "" if difference.certain else "could be chance"
        table.add_row(difference.name, number(difference.before), number(difference.after), interval, verdict)
    return table


def _lines(report: Report) -> list[str]:
    lines = ["", *dict.fromkeys(f"[ ] are 95 % intervals: {intervals_text(e)}" for e in report.evaluations)]
    definitions = {score.name: score.definition for e in report.evaluations for score in e.scores}
    lines += [f"  {name}: {definition}" for name, definition in definitions.items()]
    for comparison in report.comparisons:
        lines += ["", _summary(comparison), *(f"  {note}" for note in comparison.notes)]
    notes = dict.fromkeys(f"{e.subject}: {note}" for e in report.evaluations for note in e.notes)
    lines += ["" for _ in [*notes, *report.remarks][:1]] + [*notes, *report.remarks]
    return lines


def _summary(comparison: Comparison) -> str:
    return (
        f"{comparison.before} → {comparison.after} on {comparison.n} rows: {comparison.gained} wrong answers became "
        f"right, {comparison.lost} right ones wrong ({comparison.test}: p = {comparison.p_value:.2g})"
    )


def misses_text(evaluation: Evaluation, count: int, base: Evaluation | None = None) -> str:
    """The worst misses of one evaluation.

    Args:
        evaluation: of which.
        count: how many, at most.
        base: whose answers to the same rows are shown beside.
    """
    wrong = sum(answer.correct is False for answer in evaluation.answers)
    shown = worst(evaluation.answers, count)
    if not shown:
        return ""
    what = f"the {len(shown)} worst of {wrong} misses of '{evaluation.subject}'"
    if evaluation.by_likeness:
        what = f"the {len(shown)} of {wrong} answers of '{evaluation.subject}' that are least like the reference"
    lines = [f"{what} (least agreement first, then loss)"]
    before = {answer.row: answer for answer in base.answers} if base and base is not evaluation else {}
    for answer in shown:
        lines += ["", *_miss(answer, before.get(answer.row))]
    return "\n".join(lines)


def _miss(answer: Answer, before: Answer | None) -> list[str]:
    return [
        f"row {answer.row + 1}",
        f"  prompt    {_short(answer.prompt, from_end=True)}",
        f"  expected  {_short(answer.reference)}",
        *([f"  base      {_answered(before)}"] if before else []),
        f"  answered  {_answered(answer)}",
    ]


def _answered(answer: Answer) -> str:
    return _short(answer.prediction) + (", cut off" if answer.finish == "length" else "")


def _short(text: str, *, from_end: bool = False) -> str:
    """One line of at most :data:`SHOWN` characters; of a prompt the end says most."""
    line = text.strip().replace("\n", "⏎")
    if len(line) <= SHOWN:
        return line
    return "…" + line[-SHOWN:] if from_end else line[:SHOWN] + "…"
