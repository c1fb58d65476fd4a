"""What the model can do besides its task, before and after."""

from __future__ import annotations

from edgetune.errors import EdgetuneError
from edgetune.evaluation.compare import Comparison, Difference
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.subjects import artifact_opening, tuned_opening
from edgetune.general.comparing import compare
from edgetune.general.figures import BITS_PER_BYTE, TOGETHER
from edgetune.general.record import GeneralEvaluation, load
from edgetune.report.cells import score_cell, score_number, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Column, Definition, Section, Table


def forgetting_section(evidence: Evidence) -> Section | None:
    """Base against tuned model, and against each artifact, on the questions asked last."""
    found = _stored(evidence)
    base, tuned = found.get("base"), found.get("tuned")
    if not found or (base is None and tuned is None):
        return None
    pairs = [(base, one) for one in found.values() if one is not base]
    comparisons = [compare(before, after) for before, after in pairs if before is not None]
    scores = [score for one in found.values() for score in one.scores]
    definitions = {score.name: score.definition for score in scores}
    notes = ["[ ] are 95 % intervals: Wilson's for shares, else a bootstrap; of differences, over paired items."]
    notes += dict.fromkeys(f"{note}." for one in comparisons for note in one.notes)
    notes += dict.fromkeys(f"{note}." for one in found.values() for note in one.notes)
    return Section(
        id="forgetting",
        title="What it forgot",
        lead=_lead(comparisons, next(iter(found.values()))),
        tables=(_scores(found), *([_moves(comparisons)] if comparisons else [])),
        notes=tuple(notes),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _stored(evidence: Evidence) -> dict[str, GeneralEvaluation]:
    """Subject → what is stored of its weights as they are now, all on the same questions: those asked last."""
    run = evidence.run
    if evidence.manifest.state != "trained":
        return {}
    files = sorted(run.evaluation_file("x").parent.glob("general-*.json"))
    weights = {"base": evidence.manifest.base_sha256, "tuned": tuned_opening(run).weights_sha256} if files else {}
    weights |= {one.artifact.name: artifact_opening(one.artifact).weights_sha256 for one in evidence.shipped if files}
    found = []
    for file in files:
        try:
            one = load(file)
        except EdgetuneError:  # it is made again by the next evaluation
            continue
        found += [one] if weights.get(one.subject) == one.basis.weights_sha256 else []
    found.sort(key=lambda one: one.created)
    asked = found[-1].basis.data_sha256 if found else {}
    same = {one.subject: one for one in found if one.basis.data_sha256 == asked}
    return {name: same[name] for name in weights if name in same}


def _lead(comparisons: list[Comparison], any_one: GeneralEvaluation) -> str:
    tuned = next((one for one in comparisons if one.after == "tuned"), None)
    if tuned is None:
        return f"What it can do besides its task, on {len(any_one.choices)} questions; base or tuned model is missing."
    named = {one.name: one for one in tuned.differences}
    questions = named.get(TOGETHER) or tuned.differences[0]
    said = [f"Of {tuned.n} questions besides the task, {_words(questions)}"]
    said += [f"bits for a byte of plain text: {_words(named[BITS_PER_BYTE])}"] if BITS_PER_BYTE in named else []
    return "; ".join(said) + "."


def _words(one: Difference) -> str:
    sure = "" if one.certain else ", which could be chance"
    return f"{score_number(one.before)} (base) → {score_number(one.after)} (tuned){sure}"


def _scores(found: dict[str, GeneralEvaluation]) -> Table:
    names = dict.fromkeys(score.name for one in found.values() for score in one.scores)
    rows = []
    for name in names:
        cells = [_score(one, name) for one in found.values()]
        items = next(score.n for score in cells if score)
        rows.append(
            (
                text_cell(name),
                Cell(text=str(items), value=items),
                *(score_cell(score, "not one of its figures") for score in cells),
            )
        )
    heads = [f"{name} ({one.basis.runtime})" for name, one in found.items()]
    columns = tuple(Column(name=name) for name in ("figure", "items", *heads))
    return Table(
        id="general", caption="Questions and plain text that are not of the task", columns=columns, rows=tuple(rows)
    )


def _score(one: GeneralEvaluation, name: str) -> Score | None:
    return next((score for score in one.scores if score.name == name), None)


def _moves(comparisons: list[Comparison]) -> Table:
    columns = tuple(Column(name=name) for name in ("step", "figure", "before", "after", "difference", "sure"))
    rows = [(text_cell(f"{one.before} → {one.after}"), *_move(each)) for one in comparisons for each in one.differences]
    return Table(id="forgotten", caption="What moved, paired by item", columns=columns, rows=tuple(rows))


def _move(one: Difference) -> tuple[Cell, ...]:
    text = f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
    return (
        text_cell(one.name),
        Cell(text=score_number(one.before), value=one.before),
        Cell(text=score_number(one.after), value=one.after),
        Cell(text=text, value=one.value, low=one.low, high=one.high),
        text_cell("yes") if one.certain else text_cell("could be chance", "quiet"),
    )
