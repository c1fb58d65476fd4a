"""The worst wrong answers."""

from __future__ import annotations

from collections.abc import Mapping

from edgetune.evaluation.record import Answer, Evaluation, worst
from edgetune.report.cells import text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.quality import TUNED
from edgetune.report.record import Cell, Column, Section, Table

SHOWN = 10
#: Longest prompt or answer shown.
LENGTH = 600
_WRONG = "Wrong means: not equal to the reference, outer white space and <think> parts aside."
_WRONG_CLASS = "Wrong means: another class than the row's own."


def misses_section(evidence: Evidence, label: str | None) -> Section | None:
    """Misses of one model: the recommended artifact, else the first that was evaluated, else the tuned model.

    Args:
        evidence: of the run.
        label: of the recommended artifact.
    """
    named = [(one.label, one.evaluation) for one in evidence.shipped]
    named = [*sorted(named, key=lambda pair: pair[0] != label), (TUNED, evidence.tuned)]
    name, evaluation = next(((name, found) for name, found in named if found), ("", None))
    judged = [answer for answer in evaluation.answers if answer.correct is not None] if evaluation else []
    if evaluation is None or not judged:
        return None
    return _section(name, evaluation, judged, evidence)


def _section(name: str, evaluation: Evaluation, judged: list[Answer], evidence: Evidence) -> Section:
    task = evidence.recipe.task
    asked, base, wrong_means = ("prompt", "expected"), evidence.base, _WRONG
    if task.kind != "generation":
        asked, base, wrong_means = (task.unit, "class"), None, _WRONG_CLASS
    wrong = sum(answer.correct is False for answer in judged)
    shown = worst(evaluation.answers, SHOWN)
    before = {answer.row: answer for answer in base.answers} if base else {}
    words = (*asked, *(("the untuned base",) if before else ()), "answered")
    title = "Answers least like the reference" if evaluation.by_likeness else "Worst misses"
    table = Table(
        id="misses",
        caption=f"{title}: {name}",
        columns=(Column(name="row"), *(Column(name=word, long=True) for word in words)),
        rows=tuple(_row(answer, before) for answer in shown),
    )
    return Section(
        id="misses",
        title=title,
        lead=_lead(name, evaluation, wrong, len(judged), len(shown)),
        tables=(table,) if shown else (),
        notes=(wrong_means,) if wrong and not evaluation.by_likeness else (),
    )


def _lead(name: str, evaluation: Evaluation, wrong: int, judged: int, shown: int) -> str:
    if not wrong:
        return f"{name} answers all {judged} held-out rows right."
    if evaluation.by_likeness:
        return f"Of {judged} held-out rows {shown} are shown, those least like the reference first."
    many = f"the {shown} worst are shown, least agreement first, then highest loss"
    return f"{name} answers {wrong} of {judged} held-out rows wrong; {many}."


def _row(answer: Answer, before: Mapping[int, Answer]) -> tuple[Cell, ...]:
    base = [text_cell(_answered(before[answer.row]) if answer.row in before else "not asked")] if before else []
    return (
        Cell(text=str(answer.row + 1), value=answer.row + 1),
        text_cell(_end(answer.prompt)),
        text_cell(_start(answer.reference)),
        *base,
        text_cell(_answered(answer), "bad"),
    )


def _answered(answer: Answer) -> str:
    cut = " (cut off at the longest answer allowed)" if answer.finish == "length" else ""
    return (_start(answer.prediction) or "(nothing)") + cut


def _start(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"


def _end(text: str) -> str:
    """Of a prompt the end says most."""
    text = text.strip()
    return text if len(text) <= LENGTH else f"…{text[-LENGTH:]}"
