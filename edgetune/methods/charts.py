"""A comparison of methods in pictures."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.methods.record import MethodsComparison
from edgetune.methods.summing import Spread, Summary, summaries, task_at
from edgetune.report.cells import number_cell, text_cell
from edgetune.report.colours import CYCLE
from edgetune.report.record import Cell, Chart, Column, Series, Table


def charts(comparison: MethodsComparison) -> tuple[Chart, ...]:
    """The task's figure against memory, what is forgotten, and more rows, where there is something to see."""
    found = summaries(comparison)
    drawn = [_against_memory(comparison, found)]
    if any(one.bits for one in found):
        drawn.append(_forgotten(found))
    if len({one.share for one in comparison.trainings}) > 1:
        drawn.append(_capacity(comparison, found))
    return tuple(drawn)


def _colour(place: int) -> str:
    return CYCLE[place % len(CYCLE)]


def _against_memory(comparison: MethodsComparison, found: Sequence[Summary]) -> Chart:
    series = [
        Series(
            name=one.method,
            colour=_colour(place),
            x=(one.peak / 1e6,),
            y=(one.task.value,),
            low=(one.task.low,),
            high=(one.task.high,),
            markers=True,
        )
        for place, one in enumerate(found)
    ]
    rows = [(text_cell(one.method), number_cell(one.peak / 1e6), _spread_cell(one.task)) for one in found]
    return Chart(
        id="methods-memory",
        title=f"{comparison.metric} against peak memory in training",
        alt=f"{comparison.metric} against peak memory of {', '.join(one.method for one in found)}",
        kind="points",
        x_label="peak memory in training (MB, less is better)",
        y_label=f"{comparison.metric}{' (lower is better)' if comparison.lower_is_better else ''}",
        series=tuple(series),
        table=_table("methods-memory-data", ("method", "peak memory", comparison.metric), rows),
    )


def _forgotten(found: Sequence[Summary]) -> Chart:
    bits = [one.bits for one in found]
    series = Series(
        name="plain text",
        colour=CYCLE[0],
        x=tuple(one.value if one else None for one in bits),
        low=tuple(one.low if one else None for one in bits),
        high=tuple(one.high if one else None for one in bits),
    )
    rows = [(text_cell(one.method), _spread_cell(one.bits)) for one in found]
    return Chart(
        id="methods-forgetting",
        title="What is forgotten: bits more for a byte of plain text",
        alt="Change in bits for a byte of plain text after training, by method; more is forgotten",
        kind="dots",
        x_label="bits a byte more than the base (less is better)",
        categories=tuple(one.method for one in found),
        series=(series,),
        table=_table("methods-forgetting-data", ("method", "bits a byte more"), rows),
    )


def _capacity(comparison: MethodsComparison, found: Sequence[Summary]) -> Chart:
    shares = sorted({one.share for one in comparison.trainings})
    series, rows = [], []
    for place, one in enumerate(found):
        known = [share for share in shares if comparison.of(one.method, share)]
        counts = tuple(float(comparison.of(one.method, share)[0].rows) for share in known)
        values = [task_at(comparison, one.method, share) for share in known]
        lows = tuple(value.low for value in values)
        highs = tuple(value.high for value in values)
        whole = None not in lows
        series.append(
            Series(
                name=one.method,
                colour=_colour(place),
                x=counts,
                y=tuple(value.value for value in values),
                low=lows if whole else (),
                high=highs if whole else (),
                markers=True,
            )
        )
        rows += [
            (text_cell(f"{one.method}, {count:.0f} rows"), _spread_cell(value))
            for count, value in zip(counts, values, strict=True)
        ]
    return Chart(
        id="methods-rows",
        title=f"{comparison.metric} as rows grow",
        alt=f"{comparison.metric} by the number of training rows, a line for each method",
        kind="lines",
        x_label="training rows",
        y_label=comparison.metric,
        series=tuple(series),
        table=_table("methods-rows-data", ("method", comparison.metric), rows),
    )


def _spread_cell(found: Spread | None) -> Cell:
    return number_cell(found.value, found.low, found.high) if found else number_cell(None)


def _table(id: str, names: Sequence[str], rows: Sequence[tuple[Cell, ...]]) -> Table:
    columns = tuple(Column(name=name) for name in names)
    return Table(id=id, caption="What the chart shows", columns=columns, rows=tuple(rows))
