"""Targets: which objectives each artifact meets, and by how much."""

from __future__ import annotations

from edgetune.bench.objective import Verdict
from edgetune.bench.realtime_section import RateSearch
from edgetune.report.benchmark import Benchmark, by_how_much
from edgetune.report.cells import NOTHING, absent, short, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Column, Definition, Section, Table, Tone

_TONES: dict[str, Tone] = {"met": "good", "missed": "bad", "not judged": "warn"}
_SEARCH = {
    "highest rate met": "highest rate of seeded Poisson requests, of those measured, that meets every objective",
    "lowest rate missed": "lowest rate, of those measured, that misses one",
}


def targets_section(evidence: Evidence) -> Section | None:
    """A line a verdict."""
    held = [(one.label, bench) for one in evidence.shipped for bench in one.held.values() if bench.verdicts]
    if not held:
        return None
    columns = ("artifact", "target", "objective", "verdict", "measured", "by how much", "samples", "taken as")
    verdicts = Table(
        id="verdicts",
        caption="Verdicts",
        columns=tuple(Column(name=name) for name in columns),
        rows=tuple(_row(label, bench, one) for label, bench in held for one in bench.verdicts),
    )
    searches = [
        (label, str(bench.target), section.search, section.no_rate)
        for label, bench in held
        if (section := bench.report.realtime) and section.search
    ]
    metrics = {one.objective.metric for _, bench in held for one in bench.verdicts}
    definitions = {f.name: f.definition for _, bench in held for f in bench.figures if f.name in metrics}
    definitions |= _SEARCH if searches else {}
    return Section(
        id="targets",
        title="Targets",
        lead=" ".join(_sentence(label, bench) for label, bench in held),
        tables=(verdicts, _searches(searches)) if searches else (verdicts,),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _sentence(label: str, bench: Benchmark) -> str:
    outcomes = [one.outcome for one in bench.verdicts]
    if "missed" in outcomes:
        return f"{label} misses {bench.target}: {outcomes.count('missed')} of {len(outcomes)} objectives."
    if "not judged" in outcomes:
        return (
            f"{label} cannot be judged by {bench.target}: {outcomes.count('not judged')} of {len(outcomes)} are open."
        )
    return f"{label} meets {bench.target}."


def _row(label: str, bench: Benchmark, one: Verdict) -> tuple[Cell, ...]:
    value = absent(one.reason or "not measured")
    if one.value is not None:
        value = Cell(text=f"{short(one.value)} {one.objective.unit or ''}".strip(), value=one.value)
    return (
        text_cell(label),
        text_cell(str(bench.target)),
        text_cell(one.objective.text),
        text_cell(one.outcome, _TONES[one.outcome]),
        value,
        text_cell(by_how_much(one) if one.value is not None else NOTHING),
        Cell(text=str(one.samples), value=one.samples),
        text_cell(one.measured_as or ""),
    )


def _searches(searches: list[tuple[str, str, RateSearch, str]]) -> Table:
    rows = []
    for label, target, found, no_rate in searches:
        met, missed = found.highest_met, found.lowest_missed
        rows.append(
            (
                text_cell(label),
                text_cell(target),
                absent(no_rate) if met is None else Cell(text=short(met), value=met),
                absent("none was found") if missed is None else Cell(text=short(missed), value=missed),
                text_cell(found.ended),
            )
        )
    names = (("highest rate met", "requests/s"), ("lowest rate missed", "requests/s"), ("search ended", ""))
    columns = [Column(name="artifact"), Column(name="target"), *(Column(name=name, unit=unit) for name, unit in names)]
    return Table(id="rates", caption="Highest rate", columns=tuple(columns), rows=tuple(rows))
