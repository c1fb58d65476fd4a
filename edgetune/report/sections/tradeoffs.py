"""The Pareto front of quality, size, latency and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetune.report.benchmark import find_figure
from edgetune.report.cells import absent, number_cell, score_cell, short, text_cell
from edgetune.report.colours import colour_of
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.likeness import alike
from edgetune.report.pareto import Point, dominators
from edgetune.report.quality import Quality
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table


@dataclass(frozen=True)
class _Axis:
    """What an artifact costs in one way."""

    id: str
    name: str
    unit: str
    figure: str | None
    """Of the benchmark; None: the size of the files."""

    def value(self, one: Shipped) -> float | None:
        if self.figure is None:
            return one.size_bytes / 1e6
        found = find_figure(one.bench, self.figure)
        return found.median if found else None


_AXES = (
    _Axis("size", "size", "MB", None),
    _Axis("latency", "itl_mean", "ms", "itl_mean"),
    _Axis("ttft", "ttft", "ms", "ttft"),
    _Axis("class", "latency", "ms", "latency"),
    _Axis("memory", "peak_rss", "MB", "peak_rss"),
)
_DEFINITION = (
    "verified, and no other verified artifact is at least as good in every way and better in one. Medians and scores "
    "are compared as they are; where intervals overlap, the order of two artifacts can be chance"
)


def tradeoffs_section(evidence: Evidence, quality: Quality) -> Section | None:
    """Where each artifact stands, and which are worth choosing from."""
    measured, notes = alike(evidence.shipped)
    scored = [one for one in evidence.shipped if one.evaluation and quality.score(one.label)]
    whole = [one for one in scored if one in measured] or scored
    if not whole:
        return None
    if len(whole) < len(scored) and not notes:
        left = ", ".join(one.label for one in scored if one not in whole)
        notes = [f"not benchmarked, so not on the front: {left}"]
    axes = [axis for axis in _AXES if all(axis.value(one) is not None for one in whole)]
    beaten = _beaten(whole, axes, quality)
    front = [one.label for one in whole if beaten[one.label] is None]
    definitions = [Definition(word="on the front", text=_DEFINITION)]
    return Section(
        id="tradeoffs",
        title="Quality, size, latency, memory",
        lead=_lead(front, whole, axes, evidence),
        charts=tuple(_chart(axis, whole, beaten, quality, evidence) for axis in axes) if len(whole) > 1 else (),
        notes=tuple(f"{note}." for note in notes),
        definitions=(*definitions, *_figure_definitions(whole)),
    )


def _beaten(whole: list[Shipped], axes: list[_Axis], quality: Quality) -> dict[str, str | None]:
    """Label → why it is not on the front; None: it is. What is unverified beats nothing: it is another model."""
    verified = [one for one in whole if one.verification and one.verification.passed]
    found = dominators([_point(one, axes, quality) for one in verified])
    reasons = {label: f"beaten by {by}" if by else None for label, by in found.items()}
    return {one.label: reasons.get(one.label, "unverified") for one in whole}


def _point(one: Shipped, axes: list[_Axis], quality: Quality) -> Point:
    score = quality.score(one.label)
    assert score is not None, "only scored artifacts are compared"
    costs = {axis.id: value for axis in axes if (value := axis.value(one)) is not None}
    return Point(one.label, costs | {"quality": score.value if quality.lower_is_better else -score.value})


def _lead(front: list[str], whole: list[Shipped], axes: list[_Axis], evidence: Evidence) -> str:
    ways = ", ".join(["quality", *(axis.name for axis in axes)])
    if len(whole) == 1:
        return _lead_of_one(whole[0], evidence.shipped)
    if not front:
        return "No artifact is verified, so none is on the front."
    return f"On the front of {ways}: {', '.join(front)} ({len(front)} of {len(whole)}; filled marks)."


def _lead_of_one(one: Shipped, shipped: Sequence[Shipped]) -> str:
    """Why there is no front: nothing else is exported, or nothing else is known well enough."""
    if len(shipped) == 1:
        return f"There is one artifact, {one.label}, so there is nothing to choose from yet."
    if sum(other.evaluation is not None for other in shipped) == 1:
        return f"Only {one.label} is evaluated, of {len(shipped)} artifacts: the others have no place here yet."
    return f"Only {one.label} is evaluated and measured alike, of {len(shipped)} artifacts; the notes say why."


def _chart(
    axis: _Axis, whole: list[Shipped], beaten: dict[str, str | None], quality: Quality, evidence: Evidence
) -> Chart:
    series = []
    for one in whole:
        score, value = quality.score(one.label), axis.value(one)
        assert score is not None
        assert value is not None
        series.append(
            Series(
                name=one.label,
                colour=colour_of(one, evidence.shipped),
                x=(value,),
                y=(score.value,),
                low=(score.low,),
                high=(score.high,),
                hollow=beaten[one.label] is not None,
                markers=True,
            )
        )
    names = ", ".join(one.label for one in whole)
    return Chart(
        id=f"front-{axis.id}",
        title=f"{quality.metric} against {axis.name}",
        alt=f"{quality.metric} against {axis.name} of {names}; hollow marks are not on the front",
        kind="points",
        x_label=f"{axis.name} ({axis.unit}, less is better)",
        y_label=f"{quality.metric}{' (lower is better)' if quality.lower_is_better else ''}",
        series=tuple(series),
        table=_table(axis, whole, beaten, quality),
    )


def _table(axis: _Axis, whole: list[Shipped], beaten: dict[str, str | None], quality: Quality) -> Table:
    rows = []
    for one in whole:
        reason = beaten[one.label]
        verdict = text_cell("on the front", "good") if reason is None else text_cell(reason, "quiet")
        rows.append((text_cell(one.label), score_cell(quality.score(one.label)), _value(axis, one), verdict))
    names = ((str(quality.metric), ""), (axis.name, axis.unit), ("front", ""))
    columns = (Column(name="artifact"), *(Column(name=name, unit=unit) for name, unit in names))
    caption = f"{quality.metric} and {axis.name}; the front minds all axes at once"
    return Table(id=f"front-{axis.id}-data", caption=caption, columns=columns, rows=tuple(rows))


def _value(axis: _Axis, one: Shipped) -> Cell:
    if axis.figure is None:
        return Cell(text=short(one.size_bytes / 1e6), value=one.size_bytes / 1e6)
    figure = find_figure(one.bench, axis.figure)
    if figure is None or figure.median is None:
        return absent("not benchmarked")
    low, high = figure.interval or (None, None)
    return number_cell(figure.median, low, high)


def _figure_definitions(whole: list[Shipped]) -> list[Definition]:
    wanted = {axis.figure for axis in _AXES}
    found = {f.name: f.definition for one in whole if one.bench for f in one.bench.figures if f.name in wanted}
    sizes = Definition(
        word="size", text="all files of an artifact together, the base beneath an adapter included; 1 MB is 10⁶ bytes"
    )
    return [Definition(word=word, text=text) for word, text in found.items()] + [sizes]
