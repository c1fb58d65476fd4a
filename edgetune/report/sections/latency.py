"""What a user waits for: the first token and the gaps between tokens, or the class of an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgetune.bench.figuring import interval_note
from edgetune.bench.schema import RequestSample
from edgetune.report.benchmark import Benchmark, find_figure
from edgetune.report.cells import figure_cell, number_cell, percentile_cell, short, text_cell
from edgetune.report.colours import colour_of
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table

_PERCENTILES = ("p90", "p95", "p99")
#: Shown as distributions, of benchmarks that have such a figure.
_DISTRIBUTIONS: dict[str, tuple[str, Callable[[Sequence[RequestSample]], list[float]]]] = {
    "ttft": ("Time to first token", lambda requests: [r.token_s[0] * 1e3 for r in requests if r.token_s]),
    "itl": (
        "Gaps between tokens",
        lambda requests: [(b - a) * 1e3 for r in requests for a, b in zip(r.token_s, r.token_s[1:], strict=False)],
    ),
    "latency": ("Time to a class", lambda requests: [r.token_s[0] * 1e3 for r in requests if r.token_s]),
}


def latency_section(evidence: Evidence) -> Section | None:
    """Distributions and every figure of the benchmarks."""
    measured = [one for one in evidence.shipped if one.bench]
    if not measured:
        return None
    names = dict.fromkeys(name for one in measured for name in _sources(one))
    charts = (_distribution(name, measured, evidence) for name in _DISTRIBUTIONS)
    definitions = {
        name: figure.definition
        for one in measured
        for name, bench in _sources(one).items()
        if (figure := bench.find(name))
    }
    shown = [figure for one in measured for name in names if (figure := find_figure(one.newest_with(name), name))]
    notes = [f"Figures are medians over requests or starts; [ ] is {interval_note(shown)}."]
    notes += [note for one in measured for note in one.older(_sources(one))]
    notes += [f"{one.label}: {warning}." for one in measured if one.bench for warning in one.bench.report.warnings]
    return Section(
        id="latency",
        title="Latency and speed",
        lead=_lead(measured),
        charts=tuple(chart for chart in charts if chart),
        tables=(_figures(measured, list(names)), _conditions(measured)),
        notes=tuple(notes),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _sources(one: Shipped) -> dict[str, Benchmark]:
    """Figure → the newest benchmark that has it, those of the newest first."""
    return {
        figure.name: source
        for bench in reversed(one.benches)
        for figure in bench.figures
        if (source := one.newest_with(figure.name))
    }


def _lead(measured: list[Shipped]) -> str:
    words = {"ttft": "the first token is visible after", "decode": "then come"}
    words |= {"latency": "the class of an input is known after", "batch_rate": "in batches come"}
    parts = []
    for name, word in words.items():
        found = [figure for one in measured if (figure := find_figure(one.bench, name)) and figure.median is not None]
        if found:
            low, high = (end(figure.median or 0.0 for figure in found) for end in (min, max))
            spread = short(low) if low == high else f"{short(low)} to {short(high)}"
            parts.append(f"{word} {spread} {found[0].unit}")
    if not parts:
        return "No answer was long enough for a figure."
    over = f", medians over {len(measured)} artifacts" if len(measured) > 1 else " (medians)"
    return f"{parts[0][0].upper()}{', '.join(parts)[1:]}{over}."


def _distribution(name: str, measured: list[Shipped], evidence: Evidence) -> Chart | None:
    title, samples_of = _DISTRIBUTIONS[name]
    series, rows = [], []
    for one in measured:
        assert one.bench is not None
        if one.bench.find(name) is None:
            continue
        samples = sorted(samples_of(one.bench.report.requests))
        if not samples:
            continue
        # A step at every sample: no bins and no smoothing to choose.
        shares = tuple((place + 1) / len(samples) for place in range(len(samples)))
        colour = colour_of(one, evidence.shipped)
        series.append(Series(name=one.label, colour=colour, x=tuple(samples), y=shares))
        rows.append(_distribution_row(one, one.bench, name, samples))
    if not series:
        return None
    names = ("artifact", "samples", "smallest", "median", *_PERCENTILES, "largest")
    units = ("", "", *("ms" for _ in names[2:]))
    return Chart(
        id=f"latency-{name}",
        title=f"{title} ({name})",
        alt=f"Share of samples of {name} that are at most so long, a rising step curve for each artifact",
        kind="steps",
        x_label=f"{name} (ms)",
        y_label="share of samples",
        series=tuple(series),
        table=Table(
            id=f"latency-{name}-data",
            caption=f"Distribution of {name} in ms; percentiles that rest on too few samples are not given",
            columns=tuple(Column(name=column, unit=unit) for column, unit in zip(names, units, strict=True)),
            rows=tuple(rows),
        ),
    )


def _distribution_row(one: Shipped, bench: Benchmark, name: str, samples: Sequence[float]) -> tuple[Cell, ...]:
    figure = find_figure(bench, name)
    percentiles = [percentile_cell(figure, p) for p in _PERCENTILES] if figure else [number_cell(None)] * 3
    return (
        text_cell(one.label),
        Cell(text=str(len(samples)), value=len(samples)),
        number_cell(samples[0]),
        figure_cell(figure),
        *percentiles,
        number_cell(samples[-1]),
    )


def _figures(measured: list[Shipped], names: list[str]) -> Table:
    """A row a figure, a column an artifact."""
    rows = []
    for name in names:
        found = [find_figure(one.newest_with(name), name) for one in measured]
        unit = next((figure.unit for figure in found if figure), "")
        cells = (figure_cell(figure, "not one of its figures") for figure in found)
        rows.append((text_cell(name), text_cell(unit), *cells))
    columns = (Column(name="figure"), Column(name="unit"), *(Column(name=one.label) for one in measured))
    return Table(id="bench-figures", caption="Every figure: median and interval", columns=columns, rows=tuple(rows))


def _conditions(measured: list[Shipped]) -> Table:
    """How each was measured."""
    kept = [(one.label, one.bench.conditions) for one in measured if one.bench]
    names = dict.fromkeys(name for _, found in kept for name in found)
    rows = [(text_cell(name), *(text_cell(found.get(name, "not set")) for _, found in kept)) for name in names]
    columns = (Column(name="condition"), *(Column(name=label) for label, _ in kept))
    return Table(id="bench-conditions", caption="How it was measured", columns=columns, rows=tuple(rows))
