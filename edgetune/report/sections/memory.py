"""Memory, by what it is."""

from __future__ import annotations

from edgetune.report.cells import absent, number_cell, text_cell
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table

_DEFINITIONS = {
    "peak RSS": "largest resident set of a process that loads the model and answers; mapped weights are counted",
    "anonymous": "memory that belongs to the process alone, when the answer had ended: KV cache, compute, Python",
    "file-backed": "pages of mapped files, mostly weights, when the answer had ended; the system can drop them",
    "PSS": "proportional set size: shared pages are divided among the processes that share them",
    "Python alone": "peak RSS of the same process before the model was loaded",
}


def memory_section(evidence: Evidence) -> Section | None:
    """Bars of what the memory is, and the peak."""
    measured = [one for one in evidence.shipped if one.bench]
    if not measured:
        return None
    largest = max(measured, key=lambda one: one.bench.memory.peak_rss if one.bench else 0)
    assert largest.bench is not None
    peak = number_cell(largest.bench.memory.peak_rss / 1e6).text
    return Section(
        id="memory",
        title="Memory",
        lead=f"The largest peak is {peak} MB ({largest.label}), measured in a pass of its own.",
        charts=(_chart(measured),),
        definitions=tuple(Definition(word=word, text=text) for word, text in _DEFINITIONS.items()),
    )


def _chart(measured: list[Shipped]) -> Chart:
    parts = {
        "anonymous": ("c1", [_mb(one.bench.memory.anonymous) for one in measured if one.bench]),
        "file-backed": ("c3", [_mb(one.bench.memory.file_backed) for one in measured if one.bench]),
    }
    peaks = tuple(one.bench.memory.peak_rss / 1e6 for one in measured if one.bench)
    series = [Series(name=name, colour=colour, x=tuple(values)) for name, (colour, values) in parts.items()]
    return Chart(
        id="memory-parts",
        title="Memory when the answer had ended, and its peak",
        alt="Stacked bars of anonymous and file-backed memory for each artifact, with a mark at its peak RSS",
        kind="stacked",
        x_label="MB",
        categories=tuple(one.label for one in measured),
        series=(*series, Series(name="peak RSS", colour="ink", x=peaks, markers=True)),
        table=Table(
            id="memory-parts-data",
            caption="Memory in MB (10⁶ bytes), one sample each",
            columns=tuple(
                Column(name=name, unit="" if name == "artifact" else "MB") for name in ("artifact", *_DEFINITIONS)
            ),
            rows=tuple(_row(one) for one in measured),
        ),
    )


def _row(one: Shipped) -> tuple[Cell, ...]:
    assert one.bench is not None
    memory = one.bench.memory
    values = (memory.peak_rss, memory.anonymous, memory.file_backed, memory.pss, memory.python_only)
    unknown = absent("this system does not tell")
    return (text_cell(one.label), *(unknown if value is None else number_cell(value / 1e6) for value in values))


def _mb(value: int | None) -> float | None:
    return None if value is None else value / 1e6
