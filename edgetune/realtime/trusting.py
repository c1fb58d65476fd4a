"""Stored benchmarks are believed only where what they say follows from the samples that they keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgetune.bench.agreeing import alike, shown, verdict_apart
from edgetune.bench.classifying_summary import classifier_figures
from edgetune.bench.reading import AGAIN, read_report
from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.summary import Samples, figures
from edgetune.errors import EdgetuneError
from edgetune.realtime.measuring import judged, with_parts, without_section

#: So many places are named.
_FEW = 5


def read_trusted(path: Path) -> BenchReport:
    """A stored report whose figures and verdicts follow from its samples.

    Raises:
        EdgetuneError: as :func:`~edgetune.bench.reading.read_report`, or they do not, naming each.
    """
    report = read_report(path)
    if problems := contradictions(report):
        more = [f"and {len(problems) - _FEW} more"] if len(problems) > _FEW else []
        raise EdgetuneError(
            f"{path} contradicts itself: it was changed, or an older edgetune kept fewer samples, or counted otherwise",
            hint=AGAIN,
            problems=[*problems[:_FEW], *more],
        )
    return report


def contradictions(report: BenchReport) -> list[str]:
    """Figures and verdicts that do not follow from the samples in the same report, and how."""
    again = derived(report)
    known = {one.name: one for one in again.figures}
    found = [problem for one in report.figures for problem in _of_figure(one, known.get(one.name))]
    pairs = zip(report.verdicts, again.verdicts, strict=True)
    return found + [problem for stored, verdict in pairs for problem in verdict_apart(stored, verdict)]


def derived(report: BenchReport) -> BenchReport:
    """The same report with every figure and verdict made again from its samples."""
    plain = without_section(report)
    samples = Samples(
        warm=list(report.loads.warm),
        cold=list(report.loads.cold),
        cold_reason=report.loads.cold_reason,
        requests=list(report.requests),
        raw=list(report.raw),
        depths=list(report.depths),
        axes=list(report.axes),
        batches=list(report.batches),
        memory=list(report.memory),
        energy=list(report.energy),
        sustained=report.sustained,
    )
    make = classifier_figures if report.settings.classifies else figures
    whole = plain.model_copy(update={"figures": make(samples, report.settings)})
    objectives = [verdict.objective for verdict in report.verdicts]
    whole = with_parts(whole, report.realtime, report.frames, objectives)
    return whole.model_copy(update={"target": report.target, "verdicts": judged(whole, objectives)})


def _of_figure(stored: Figure, again: Figure | None) -> Iterator[str]:
    if again is None:
        yield f"{stored.name}: no sample is of it"
        return
    if stored.definition != again.definition:
        yield f"{stored.name} was '{stored.definition}' and is '{again.definition}' now"
        return
    for what in ("unit", "better", "samples"):
        before, after = getattr(stored, what), getattr(again, what)
        if before != after:
            yield f"{stored.name}: {what} {before} is stored, its samples say {after}"
            return
    for what, before, after in _numbers(stored, again):
        if not alike(before, after):
            yield f"{stored.name}: {what} {shown(before)} is stored, its samples give {shown(after)}"
            return


def _numbers(stored: Figure, again: Figure) -> Iterator[tuple[str, float | None, float | None]]:
    """Every number of a figure, as stored and as made again."""
    yield "median", stored.median, again.median
    yield "mad", stored.mad, again.mad
    yield "number of rounds", len(stored.rounds), len(again.rounds)
    for number, (before, after) in enumerate(zip(stored.rounds, again.rounds, strict=False)):
        yield f"round {number}", before, after
    for name in sorted(stored.percentiles.keys() | again.percentiles.keys()):
        yield name, stored.percentiles.get(name), again.percentiles.get(name)
    for which, end in enumerate(("lower end of the interval", "upper end of the interval")):
        yield end, stored.interval and stored.interval[which], again.interval and again.interval[which]
