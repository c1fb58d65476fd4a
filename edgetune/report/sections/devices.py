"""Devices: measured, constrained and projected, each in a table of its own."""

from __future__ import annotations

from edgetune.devices.report import DeviceReport, Limits
from edgetune.report.benchmark import by_how_much
from edgetune.report.cells import absent, megabytes, number_cell, short, text_cell
from edgetune.report.colours import colour_of
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Chart, Column, Definition, Section, Series, Table

_KINDS = {
    "measured": "the artifact ran on the device itself",
    "measured here": "the artifact ran on this host, through the same runner as on a device",
    "constrained": "the artifact ran on this host within the cores and memory of the device; its speed is the host's",
    "projected": "nothing ran there: bytes a token over the bandwidth that devices of the class reach, as an interval",
}


def devices_section(evidence: Evidence) -> Section | None:
    """Whatever is stored of devices."""
    reports = [(one.label, report) for one in evidence.shipped for report in one.devices]
    if not reports:
        return None
    tables = (
        _measured(reports, "measured on a device", "devices-measured"),
        _measured(reports, "measured on this host", "devices-measured-here"),
        _constrained(reports),
    )
    chart = _projected(reports, evidence)
    there = dict(zip(_KINDS, (*tables, chart), strict=True))
    kinds = [name for name, found in there.items() if found]
    # Constrained runs have figures of the same names and other definitions; their table shows none of them.
    definitions = {f.name: f.definition for _, report in reports if report.measured for f in report.figures}
    return Section(
        id="devices",
        title="Devices",
        lead=f"By kind of evidence, never mixed: {', '.join(kinds)}.",
        charts=(chart,) if chart else (),
        tables=tuple(table for table in tables if table),
        notes=tuple(dict.fromkeys(f"{label}: {note}." for label, report in reports for note in _notes(report))),
        definitions=tuple(
            Definition(word=word, text=text)
            for word, text in [*((name, _KINDS[name]) for name in kinds), *definitions.items()]
        ),
    )


def _notes(report: DeviceReport) -> list[str]:
    unlimited = report.constrained.limits.not_limited if report.constrained else ()
    return [
        *report.warnings,
        *(f"on this host not limited: {what}" for what in unlimited),
        *(note for one in report.projected for note in one.notes),
        *(
            f"{report.target} on {report.place}: {one.objective.text}: {one.outcome}, {by_how_much(one)}"
            for one in report.verdicts
        ),
    ]


def _measured(reports: list[tuple[str, DeviceReport]], how: str, id: str) -> Table | None:
    rows = [
        (
            text_cell(label),
            text_cell(report.place),
            text_cell(f"{figure.name}{f' after {figure.depth} tokens' if figure.depth else ''}"),
            number_cell(figure.median, shown=None if figure.mad is None else _spread(figure.median, figure.mad)),
            text_cell(figure.unit),
            Cell(text=str(figure.samples), value=figure.samples),
            text_cell(f"{report.measured.runner}, {report.measured.threads} threads, over {report.measured.over}"),
        )
        for label, report in reports
        if report.measured and report.how == how
        for figure in report.figures
    ]
    names = ("artifact", "where", "figure", "median ± MAD", "unit", "samples", "how")
    columns = tuple(Column(name=name) for name in names)
    caption = f"{how.capitalize()} with the runner"
    return Table(id=id, caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def _spread(median: float | None, mad: float) -> str | None:
    return None if median is None else f"{short(median)} ± {short(mad)}"


def _constrained(reports: list[tuple[str, DeviceReport]]) -> Table | None:
    rows = [
        (
            text_cell(label),
            text_cell(report.device),
            text_cell(found.verdict, "good" if found.verdict == "fits" else "bad"),
            text_cell(found.reason),
            number_cell(found.peak_rss / 1e6) if found.peak_rss is not None else absent("it did not get so far"),
            text_cell(_limits(found.limits)),
        )
        for label, report in reports
        if (found := report.constrained)
    ]
    names = (("artifact", ""), ("as on", ""), ("verdict", ""), ("reason", ""), ("peak_rss", "MB"), ("limits", ""))
    columns = tuple(Column(name=name, unit=unit, long=name == "reason") for name, unit in names)
    caption = "This host, limited to a device's cores and memory"
    if not rows:
        return None
    return Table(id="devices-constrained", caption=caption, columns=columns, rows=tuple(rows), kind="constrained")


def _limits(limits: Limits) -> str:
    return f"{len(limits.cores)} cores, {megabytes(limits.memory_bytes)} ({limits.memory_by}); bandwidth not limited"


def _projected(reports: list[tuple[str, DeviceReport]], evidence: Evidence) -> Chart | None:
    shipped = {one.label: one for one in evidence.shipped}
    # Reports come oldest first: of several about one device and depth the newest is left.
    newest = {(label, one.device, one.depth): one for label, report in reports for one in report.projected}
    found = [(label, one) for (label, _, _), one in newest.items()]
    if not found:
        return None
    categories = tuple(dict.fromkeys(f"{one.device}, {one.depth} deep" for _, one in found))
    series = []
    for label in dict.fromkeys(label for label, _ in found):
        own = {f"{one.device}, {one.depth} deep": one for name, one in found if name == label}
        series.append(
            Series(
                name=label,
                colour=colour_of(shipped[label], evidence.shipped),
                x=tuple(own[name].middle if name in own else None for name in categories),
                low=tuple(own[name].low if name in own else None for name in categories),
                high=tuple(own[name].high if name in own else None for name in categories),
                hollow=True,
            )
        )
    rows = tuple(
        (
            text_cell(label),
            text_cell(one.device),
            Cell(text=str(one.depth), value=one.depth),
            Cell(text=f"{short(one.low)} to {short(one.high)}", value=one.middle, low=one.low, high=one.high),
            text_cell(one.device_class),
            Cell(text=f"{one.efficiency:.2f}", value=one.efficiency),
            number_cell(one.bytes_per_token / 1e6),
        )
        for label, one in found
    )
    names = {"artifact": "", "device": "", "depth": "tokens", "projected decode": "tokens/s", "class": ""}
    names |= {"share of the bandwidth": "", "read for a token": "MB"}
    return Chart(
        id="devices-projected",
        title="Projected decode speed (nothing was measured there)",
        alt="Projected intervals of the decode speed for each device; hollow marks, because they are not measured",
        kind="dots",
        x_label="projected decode (tokens/s)",
        categories=categories,
        series=tuple(series),
        table=Table(
            id="devices-projected-data",
            caption="Projected decode speed as an interval",
            columns=tuple(Column(name=name, unit=unit) for name, unit in names.items()),
            rows=rows,
            kind="projected",
        ),
    )
