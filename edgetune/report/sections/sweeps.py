"""Speed over context depth, threads and other settings that a benchmark varied."""

from __future__ import annotations

from edgetune.bench.figuring import interval_note
from edgetune.bench.schema import Figure
from edgetune.report.cells import figure_cell, percent, text_cell
from edgetune.report.colours import colour_of
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table

#: (axis, metric) → heading and what the axis counts. Drawn in this order; whatever else was varied is a table.
_CURVES = {
    ("depth", "decode"): ("Decode after so many tokens", "tokens of context before"),
    ("depth", "prefill"): ("Prefill after so many tokens", "tokens of context before"),
    ("decode_threads", "decode"): ("Decode by its threads", "decode threads"),
    ("prefill_threads", "prefill"): ("Prefill by its threads", "prefill threads"),
    ("threads", "latency"): ("Latency by threads", "threads"),
    ("threads", "batch_rate"): ("Rate in batches by threads", "threads"),
    ("batch", "batch_rate"): ("Rate by inputs in a batch", "inputs in a batch"),
}


def sweeps_section(evidence: Evidence) -> Section | None:
    """A curve for each of :data:`_CURVES` that was measured, and all other variations."""
    varied = [one for one in evidence.shipped if one.swept]
    if not varied:
        return None
    charts = [chart for key in _CURVES if (chart := _curve(*key, varied, evidence))]
    others = _others(varied)
    definitions = {
        figure.name.partition("@")[0]: figure.definition
        for one in varied
        for axis in one.swept
        for found in _metrics(one, axis).values()
        for _, figure in found[:1]
    }
    shown = [
        figure for one in varied for axis in one.swept for found in _metrics(one, axis).values() for _, figure in found
    ]
    return Section(
        id="sweeps",
        title="Depth, threads and other settings",
        lead=_lead(varied),
        charts=tuple(charts),
        tables=(others,) if others else (),
        notes=(
            f"A band, and what stands in [ ], is {interval_note(shown)}.",
            *(note for one in varied for note in one.older(one.swept)),
        ),
        definitions=tuple(Definition(word=word, text=text) for word, text in definitions.items()),
    )


def _lead(varied: list[Shipped]) -> str:
    """On how many threads decoding is fastest, and how much of the speed is left at depth."""
    fastest: dict[str, list[str]] = {}
    left: list[float] = []
    deepest = ""
    for one in varied:
        threads = _known(_metrics(one, "decode_threads").get("decode", []))
        if len(threads) > 1:
            fastest.setdefault(max(threads, key=lambda pair: pair[1])[0], []).append(one.label)
        depths = _known(_metrics(one, "depth").get("decode", []))
        if len(depths) > 1:
            left.append(depths[-1][1] / depths[0][1])
            deepest = f"after {depths[-1][0]} tokens"
    sentences = [f"Decoding is fastest on {count} threads ({', '.join(names)})." for count, names in fastest.items()]
    if left:
        spread = " to ".join(dict.fromkeys(percent(end(left)) for end in (min, max)))
        sentences.append(f"Of the speed at the smallest depth, {spread} is left {deepest}.")
    return " ".join(sentences) or "One setting was varied at a time; all others were as in the benchmark."


def _metrics(one: Shipped, axis: str) -> dict[str, list[tuple[str, Figure]]]:
    """Metric → (value, figure) of what was varied, of the newest benchmark that did; empty where none did."""
    bench = one.swept.get(axis)
    return bench.swept[axis] if bench else {}


def _known(found: list[tuple[str, Figure]]) -> list[tuple[str, float]]:
    return [(value, figure.median) for value, figure in found if figure.median is not None]


def _curve(axis: str, metric: str, varied: list[Shipped], evidence: Evidence) -> Chart | None:
    series: list[Series] = []
    rows: list[tuple[Cell, ...]] = []
    unit = ""
    for one in varied:
        found = _metrics(one, axis).get(metric, [])
        points = [(float(value), figure) for value, figure in found if _is_number(value) and figure.median is not None]
        points.sort(key=lambda point: point[0])
        if not points:
            continue
        whole = all(figure.interval for _, figure in points)
        series.append(
            Series(
                name=one.label,
                colour=colour_of(one, evidence.shipped),
                x=tuple(x for x, _ in points),
                y=tuple(figure.median or 0.0 for _, figure in points),
                low=tuple(figure.interval[0] for _, figure in points if figure.interval) if whole else (),
                high=tuple(figure.interval[1] for _, figure in points if figure.interval) if whole else (),
                markers=True,
            )
        )
        unit = points[0][1].unit
        rows += [(text_cell(one.label), Cell(text=f"{x:g}", value=x), figure_cell(figure)) for x, figure in points]
    if not series:
        return None
    title, counted = _CURVES[axis, metric]
    return Chart(
        id=f"sweep-{axis}-{metric}".replace("_", "-"),
        title=title,
        alt=f"{metric} in {unit} against {counted}, a line with its interval for each artifact",
        kind="lines",
        x_label=counted,
        y_label=f"{metric} ({unit})",
        series=tuple(series),
        table=Table(
            id=f"sweep-{axis}-{metric}-data",
            caption=title,
            columns=(Column(name="artifact"), Column(name=counted), Column(name=metric, unit=unit)),
            rows=tuple(rows),
        ),
    )


def _others(varied: list[Shipped]) -> Table | None:
    """What is no curve: types of cache, batches, contexts, and memory by any of them."""
    rows = [
        (text_cell(one.label), text_cell(axis), text_cell(value), text_cell(metric), text_cell(figure.unit), cell)
        for one in varied
        for axis in one.swept
        for metric, found in _metrics(one, axis).items()
        if (axis, metric) not in _CURVES
        for value, figure in found
        for cell in [figure_cell(figure)]
    ]
    names = ("artifact", "varied", "to", "figure", "unit", "median")
    columns = tuple(Column(name=name) for name in names)
    return Table(id="sweep-others", caption="Other settings", columns=columns, rows=tuple(rows)) if rows else None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
