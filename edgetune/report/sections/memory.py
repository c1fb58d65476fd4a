"""Memory, by what it is, against the budget."""

from __future__ import annotations

from edgetune.report.cells import absent, number_cell, short, text_cell
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Cell, Chart, Column, Definition, Mark, Section, Series, Table

#: Name in the benchmark → name for people and what it is.
_PARTS = {
    "peak_rss": ("peak RSS", "largest resident set of a process that loads and answers; mapped weights are counted"),
    "anonymous": ("anonymous", "memory of the process alone, when the answer had ended: KV cache, compute, Python"),
    "file_backed": ("file-backed", "pages of mapped files, mostly weights, which the system can drop and read again"),
    "pss": ("PSS", "resident memory, shared pages divided among the processes that share them"),
    "python_only": ("Python alone", "peak RSS of the same process before the model was loaded"),
    "weights": ("weights", "as the runtime holds them"),
    "kv": ("KV cache", "key-value cache as allocated for the whole context"),
    "compute": ("compute", "buffers for intermediate results and logits"),
}
_HELD, _INSIDE = ("anonymous", "file_backed"), ("weights", "kv", "compute")


def memory_section(evidence: Evidence) -> Section | None:
    """Bars of what the memory is, and the peak."""
    measured = [one for one in evidence.shipped if one.looked_into]
    if not measured:
        return None
    known = [name for name in _PARTS if any(_part(one, name) is not None for one in measured)]
    budget = min((one.budget_mb for one in measured if one.budget_mb), default=None)
    charts = [_chart("memory-parts", "Memory when the answer had ended, and its peak", _HELD, measured, known, budget)]
    if set(_INSIDE) <= set(known):
        charts.append(_chart("memory-inside", "What the runtime holds", _INSIDE, measured, known, budget))
    return Section(
        id="memory",
        title="Memory",
        lead=_lead(measured, budget),
        charts=tuple(charts),
        notes=tuple(note for one in measured if one.looked_into for note in one.older({"memory": one.looked_into})),
        definitions=tuple(Definition(word=_PARTS[name][0], text=_PARTS[name][1]) for name in known),
    )


def _lead(measured: list[Shipped], budget: float | None) -> str:
    peaks = {one.label: peak for one in measured if (peak := _part(one, "peak_rss")) is not None}
    largest = max(peaks, key=lambda label: peaks[label])
    lead = f"The largest peak is {short(peaks[largest])} MB ({largest}), measured in a pass of its own."
    if budget is None:
        return lead
    over = [label for label, peak in peaks.items() if peak > budget]
    verdict = f"above it: {', '.join(over)}" if over else "all are within it"
    return f"{lead} The budget is {short(budget)} MB; {verdict}."


def _part(one: Shipped, name: str) -> float | None:
    """Megabytes of one part."""
    found = one.looked_into.memory(name) if one.looked_into else None
    return None if found is None else found / 1e6


def _chart(  # noqa: PLR0913, PLR0917  # id, title and parts belong together
    id: str, title: str, parts: tuple[str, ...], measured: list[Shipped], known: list[str], budget: float | None
) -> Chart:
    colours = ("c1", "c3", "c5")
    series = [
        Series(name=_PARTS[name][0], colour=colour, x=tuple(_part(one, name) for one in measured))
        for name, colour in zip(parts, colours, strict=False)
        if name in known
    ]
    peaks = Series(name="peak RSS", colour="ink", x=tuple(_part(one, "peak_rss") for one in measured), markers=True)
    shown = ["peak_rss", *(name for name in known if name in parts)]
    shown += [name for name in known if name in ("pss", "python_only")] if parts == _HELD else []
    words = " and ".join(one.name for one in series)
    return Chart(
        id=id,
        title=title,
        alt=f"Stacked bars of {words} memory for each artifact, with a mark at its peak RSS",
        kind="stacked",
        x_label="MB",
        categories=tuple(one.label for one in measured),
        series=(*series, peaks),
        marks=(Mark(x=budget, name=f"budget {short(budget)} MB"),) if budget is not None else (),
        table=Table(
            id=f"{id}-data",
            caption="Memory in MB (10⁶ bytes); medians where several processes were looked at",
            columns=(Column(name="artifact"), *(Column(name=_PARTS[name][0], unit="MB") for name in shown)),
            rows=tuple(_row(one, shown) for one in measured),
        ),
    )


def _row(one: Shipped, shown: list[str]) -> tuple[Cell, ...]:
    values = (_part(one, name) for name in shown)
    unknown = absent("this system does not tell")
    return (text_cell(one.label), *(unknown if value is None else number_cell(value) for value in values))
