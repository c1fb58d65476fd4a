"""Choices with stored evidence: the base that was merged into, and the ladder of precisions."""

from __future__ import annotations

from edgetune.evaluation.compare import Difference
from edgetune.ladder.record import Ladder, Rung
from edgetune.merging.record import Form, MergeRecord
from edgetune.report.cells import absent, megabytes, number_cell, score_cell, share_cell, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Column, Definition, Section, Table


def merge_section(evidence: Evidence) -> Section | None:
    """Which base the adapter was merged into, and why."""
    found = evidence.merge
    if found is None:
        return None
    names = list(dict.fromkeys(score.name for form in found.forms for score in form.scores))
    columns = [Column(name="form"), *(Column(name=name) for name in names)]
    columns += [Column(name=f"{name}, minus unmerged") for name in names]
    columns += [Column(name="right → wrong"), Column(name="wrong → right")]
    table = Table(
        id="merge-forms",
        caption=f"The trained model in each form, on {found.rows} held-out rows",
        columns=tuple(columns),
        rows=tuple(_form(form, names, found) for form in found.forms),
    )
    definitions = {score.name: score.definition for form in found.forms for score in form.scores}
    return Section(
        id="merge",
        title="Merged into which base",
        lead=f"Merged into {found.chosen}: {found.reason}.",
        tables=(table,),
        notes=(f"Rule: {found.rule}.", *(f"{note}." for note in found.notes)),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _form(form: Form, names: list[str], found: MergeRecord) -> tuple[Cell, ...]:
    scores = {score.name: score for score in form.scores}
    differences = {one.name: one for one in form.differences}
    tone = "good" if form.name == found.chosen else ""
    return (
        text_cell(form.name, "good" if tone else ""),
        *(score_cell(scores.get(name)) for name in names),
        *(_difference(differences.get(name)) for name in names),
        Cell(text=str(form.lost), value=form.lost)
        if form.differences
        else absent("this is what others are held against"),
        Cell(text=str(form.gained), value=form.gained)
        if form.differences
        else absent("this is what others are held against"),
    )


def _difference(found: Difference | None) -> Cell:
    if found is None:
        return absent("this is what others are held against")
    text = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return Cell(text=text, value=found.value, low=found.low, high=found.high)


def ladder_section(evidence: Evidence) -> Section | None:
    """Every rung that `edgetune export --auto` tried."""
    found = evidence.ladder
    if found is None:
        return None
    names = ("precision", "size", "verdict", "why", "KL", "gain kept", "decode")
    units = {"size": "MB", "KL": "nats", "decode": "tokens/s"}
    table = Table(
        id="ladder",
        caption=f"{found.format}, from the smallest up; ~ marks a size that was predicted, not written",
        columns=tuple(Column(name=name, unit=units.get(name, ""), long=name == "why") for name in names),
        rows=tuple(_rung(rung) for rung in found.rungs),
    )
    ships = next((rung.name for rung in found.rungs if rung.verdict == "ships"), None)
    return Section(
        id="ladder",
        title="Ladder of precisions",
        lead=f"The smallest within {_limits(found)}: {ships or 'none'}.",
        tables=(table,),
        definitions=(
            Definition(
                word="KL", text="mean KL divergence from the trained model's next-token distribution, a position"
            ),
        ),
    )


def _limits(ladder: Ladder) -> str:
    limits = ladder.limits
    parts = [f"{limits.min_retention:.3g} of the gain on at most {limits.rows} rows"]
    parts += [megabytes(limits.max_bytes)] if limits.max_bytes is not None else []
    parts += [f"{limits.min_decode:.0f} tokens/s or more"] if limits.min_decode is not None else []
    return ", ".join(parts)


def _rung(rung: Rung) -> tuple[Cell, ...]:
    size = None if rung.size_bytes is None else rung.size_bytes / 1e6
    low, high = rung.retention_interval or (0.0, 0.0)
    return (
        text_cell(rung.name),
        number_cell(
            size,
            shown=None if rung.written or size is None else f"~{size:.3g}",
            reason="it cannot be written",
        ),
        text_cell(
            rung.verdict, "good" if rung.verdict == "ships" else "quiet" if rung.verdict == "not tried" else "bad"
        ),
        text_cell(rung.why),
        number_cell(rung.kl, reason="not verified so far"),
        share_cell(rung.retention if rung.retention_interval else None, low, high, "not judged"),
        number_cell(rung.decode, reason="no limit of speed was given"),
    )
