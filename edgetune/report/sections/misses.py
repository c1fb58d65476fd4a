"""The worst wrong answers."""

from __future__ import annotations

from edgetune.evaluation.record import Answer, Evaluation, worst
from edgetune.report.cells import text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.quality import TUNED
from edgetune.report.record import Cell, Column, Section, Table

SHOWN = 10
#: Longest prompt or answer shown.
LENGTH = 600


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
    return _section(name, evaluation, judged)


def _section(name: str, evaluation: Evaluation, judged: list[Answer]) -> Section:
    wrong = sum(answer.correct is False for answer in judged)
    shown = worst(evaluation.answers, SHOWN)
    many = f"the {len(shown)} worst are shown, least agreement first, then highest loss"
    lead = f"{name} answers {wrong} of {len(judged)} held-out rows wrong"
    columns = (Column(name="row"), *(Column(name=word, long=True) for word in ("prompt", "expected", "answered")))
    table = Table(
        id="misses", caption=f"Worst misses of {name}", columns=columns, rows=tuple(_row(answer) for answer in shown)
    )
    return Section(
        id="misses",
        title="Worst misses",
        lead=f"{lead}; {many}." if wrong else f"{name} answers all {len(judged)} held-out rows right.",
        tables=(table,) if shown else (),
        notes=("Wrong means: not equal to the reference, outer white space and <think> parts aside.",) if wrong else (),
    )


def _row(answer: Answer) -> tuple[Cell, ...]:
    cut = " (cut off at the longest answer allowed)" if answer.finish == "length" else ""
    return (
        Cell(text=str(answer.row + 1), value=answer.row + 1),
        text_cell(_end(answer.prompt)),
        text_cell(_start(answer.reference)),
        text_cell((_start(answer.prediction) or "(nothing)") + cut, "bad"),
    )


def _start(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"


def _end(text: str) -> str:
    """Of a prompt the end says most."""
    text = text.strip()
    return text if len(text) <= LENGTH else f"…{text[-LENGTH:]}"
