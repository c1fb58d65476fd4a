"""Stored device reports are believed only where what they say follows from the samples that they keep."""

from __future__ import annotations

from collections.abc import Iterator

from edgetune.bench.agreeing import alike, shown, verdict_apart
from edgetune.devices.holding import HeldTo, hold
from edgetune.devices.llama_bench import figures
from edgetune.devices.report import DeviceReport, Figure


def contradictions(report: DeviceReport) -> list[str]:
    """Figures and verdicts that do not follow from the samples in the same report, and how. Projections have none."""
    run = report.measured or report.constrained
    known = {(one.name, one.depth): one for one in figures(run.tests if run else ())}
    found = [problem for one in report.figures for problem in _of_figure(one, known.get((one.name, one.depth)))]
    return [*found, *_of_verdicts(report)]


def _of_figure(stored: Figure, again: Figure | None) -> Iterator[str]:
    if again is None:
        yield f"{stored.name}: no sample is of it"
        return
    pairs = (("median", stored.median, again.median), ("mad", stored.mad, again.mad))
    for what, before, after in (*pairs, ("samples", stored.samples, again.samples)):
        if not alike(before, after):
            yield f"{stored.name}: {what} {shown(before)} is stored, its samples give {shown(after)}"
            return


def _of_verdicts(report: DeviceReport) -> Iterator[str]:
    """Of what was judged: what was not rests on what the target asked for, which the report does not keep."""
    stored = [one for one in report.verdicts if one.outcome != "not judged"]
    if not stored:
        return
    again = hold(report, HeldTo(report.target, tuple(one.objective for one in stored), None)).verdicts
    for before, after in zip(stored, again, strict=True):
        yield from verdict_apart(before, after)
