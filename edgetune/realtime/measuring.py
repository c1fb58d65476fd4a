"""Holding an artifact to objectives: loops in a fresh process, figures, verdicts, all kept in the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgetune import console
from edgetune.bench.company import Company, doubts
from edgetune.bench.definitions import DEFINITIONS as OF_BENCH
from edgetune.bench.objective import Objective, Verdict
from edgetune.bench.plan import Plan
from edgetune.bench.processes import measure
from edgetune.bench.prompts import prompts_for
from edgetune.bench.realtime_section import FrameSection, RateSearch, RealtimeLoop, RealtimeSection
from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.subjects import Measured
from edgetune.realtime import frame_measuring, frames
from edgetune.realtime.clause import CLAUSE_DEFINITION
from edgetune.realtime.figures import DEFINITIONS, figure_of, measured_of_section
from edgetune.realtime.plan import FIRST_SHARE, LONGER, seconds_to_come
from edgetune.realtime.simulation import simulated
from edgetune.realtime.wanted import Wanted
from edgetune.recipe import BenchSettings
from edgetune.targets.judging import judge, measured_in

CHILD = "edgetune.realtime.child"
#: Figures that a benchmark has only from its real-time section.
ADDED = (set(DEFINITIONS) | set(frames.DEFINITIONS)) - set(OF_BENCH)
#: Default for all loops together.
SECONDS: float = BenchSettings().seconds


def hold(
    report: BenchReport, subject: Measured, wanted: Wanted, plan: Plan, *, seconds: float = SECONDS
) -> BenchReport:
    """Judge a benchmark by objectives, after measuring what they need besides.

    Args:
        report: as the benchmark made it.
        subject: what it measured, to be measured again, against a clock.
        wanted: objectives.
        plan: of the benchmark: what it asked of the runtime is asked again.
        seconds: for all loops together.

    Returns:
        The report with its real-time section, figures and verdicts.

    Raises:
        EdgetuneError: as the benchmark.
    """
    report = without_section(report)
    if wanted.name is None:
        return report
    section = measure_section(subject, wanted, plan, seconds) if wanted.needs_loop else None
    source = frame_measuring.measure_frames(subject, wanted, plan, seconds) if wanted.needs_frames else None
    report = with_parts(report, section, source, wanted.objectives)
    return report.model_copy(update={"target": wanted.name, "verdicts": judged(report, wanted.objectives)})


def judged(report: BenchReport, objectives: Sequence[Objective]) -> tuple[Verdict, ...]:
    """A verdict on each objective, by what was measured against a clock, else by the benchmark."""
    measured = measured_in(report)
    if report.frames is not None:
        measured |= frames.measured_of_frames(report.frames.loop)
    if report.realtime is not None:
        measured |= measured_of_section(report.realtime, objectives)
    return judge(objectives, measured)


def without_section(report: BenchReport) -> BenchReport:
    """The report as the benchmark made it, without what it was held to before."""
    if report.target is None:
        return report
    others: set[str] = set(warnings(report.realtime)) if report.realtime is not None else set()
    others |= set(frame_measuring.warnings(report.frames)) if report.frames is not None else set()
    return report.model_copy(
        update={
            "realtime": None,
            "frames": None,
            "target": None,
            "verdicts": (),
            "figures": tuple(one for one in report.figures if one.name not in ADDED),
            "warnings": tuple(one for one in report.warnings if one not in others),
        }
    )


def with_parts(
    report: BenchReport, section: RealtimeSection | None, source: FrameSection | None, objectives: Sequence[Objective]
) -> BenchReport:
    """The report with what was measured against a clock, and the figures of it that it had not."""
    known = {one.name for one in report.figures}
    added: list[Figure] = []
    notes: tuple[str, ...] = ()
    if section is not None:
        found = measured_of_section(section, objectives)
        added += [figure_of(name, measured) for name, measured in found.items() if name not in known]
        notes += warnings(section)
    if source is not None:
        added += frames.frame_figures(source.loop)
        notes += frame_measuring.warnings(source)
    return report.model_copy(
        update={
            "realtime": section,
            "frames": source,
            "figures": (*report.figures, *added),
            "warnings": (*report.warnings, *notes),
        }
    )


def measure_section(subject: Measured, wanted: Wanted, plan: Plan, seconds: float) -> RealtimeSection:
    """Run the loops in a fresh process, opened as the benchmark opened it.

    Raises:
        EdgetuneError: of the class that the process raised, or that it died.
    """
    asked = prompts_for(subject.path, wanted.requests)
    new_tokens = wanted.new_tokens or plan.new_tokens
    job: dict[str, Any] = {
        **subject.job,
        **subject.opening(plan),
        "prompts": asked.conversations,
        "new_tokens": new_tokens,
        "objectives": [one.model_dump(mode="json") for one in wanted.objectives],
        "requests": wanted.requests,
        "seconds": seconds,
        "rate": wanted.rate,
    }
    company = Company()
    loops, search = _run(job, subject.name)
    return RealtimeSection(
        clause_definition=CLAUSE_DEFINITION,
        prompts=len(asked.conversations),
        prompt_source=asked.source,
        new_tokens=new_tokens,
        loops=loops,
        search=search,
        others_share=company.share(),
        steal_share=company.steal(),
    )


def warnings(section: RealtimeSection) -> tuple[str, ...]:
    """What makes the figures of a section doubtful, in words that the benchmark's own warnings do not use."""
    notes = [f"against a clock: {doubt}" for doubt in doubts(section.others_share, section.steal_share)]
    judged = section.judged
    if judged.stopped is not None:
        seconds = needed_seconds(section)
        remedy = "more with --seconds" if seconds is None else f"about --seconds {seconds} would be enough"
        notes.append(f"{judged.scenario}: {judged.stopped}, of {judged.planned} wanted: {remedy}")
    empty = sum(not request.token_s for request in judged.requests)
    if empty:
        notes.append(f"{empty} of {len(judged.requests)} answers were empty and are in no latency figure")
    return tuple(notes)


def needed_seconds(section: RealtimeSection) -> int | None:
    """Seconds with which what is judged would not have been cut off, a fifth to spare, by how long answers took.

    None: it was not cut off, or nothing was answered.
    """
    judged = section.judged
    if judged.stopped is None or not judged.requests:
        return None
    if judged.rate is None:
        pace = max(one.scheduled_s + one.finished_s for one in judged.requests) / len(judged.requests)
        needed = LONGER * judged.planned * pace
    else:
        sure = seconds_to_come(judged.rate, judged.planned, judged.seed)
        queue = simulated(judged, judged.rate, judged.planned, judged.seed)
        end = LONGER * max(one.scheduled_s + one.finished_s for one in queue.requests)
        # A queue that grows takes longer than its requests need to come: then half of the time has to be enough.
        needed = sure if end <= LONGER * sure else end / (1 - FIRST_SHARE)
    return math.ceil(needed / 10) * 10


def _run(job: dict[str, Any], name: str) -> tuple[Sequence[RealtimeLoop], RateSearch | None]:
    loops, search = [], None
    with console.progress(f"Timing {name}", total=job["requests"], unit="requests") as bar:
        for told in measure(job, CHILD):
            kind = told["kind"]
            if kind == "answered":
                bar.advance()
            elif kind == "begins":
                bar.update(0, f"Timing {name}: {told['what']}")
            elif kind == "loop":
                loops.append(RealtimeLoop.model_validate(told["loop"]))
            elif told["search"] is not None:
                search = RateSearch.model_validate(told["search"])
    return loops, search
