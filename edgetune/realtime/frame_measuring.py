"""Holding a classifier to a camera's rate: frames in a fresh process, their figures, kept in the report."""

from __future__ import annotations

from edgetune import console
from edgetune.bench.classifying import inputs_for
from edgetune.bench.company import Company, doubts
from edgetune.bench.plan import Plan
from edgetune.bench.processes import measure
from edgetune.bench.realtime_section import FrameLoop, FrameSection
from edgetune.bench.subjects import Measured
from edgetune.realtime.wanted import Wanted

CHILD = "edgetune.realtime.frames_child"


def measure_frames(subject: Measured, wanted: Wanted, plan: Plan, seconds: float) -> FrameSection:
    """Run the frames in a fresh process, opened as the benchmark opened it.

    Raises:
        EdgetuneError: of the class that the process raised, or that it died.
    """
    asked = inputs_for(subject, plan.prompts)
    count = wanted.frames(seconds)
    assert wanted.rate is not None, "frames have a rate"
    job = {
        **subject.job,
        "inputs": asked.values,
        "threads": plan.threads,
        "rate": wanted.rate,
        "count": count,
        "done": wanted.frames_done,
        "most": round(wanted.rate * seconds),
    }
    company = Company()
    with console.progress(f"Timing {subject.name}: {count} frames, {wanted.rate:g} a second"):
        (told,) = measure(job, CHILD)
    return FrameSection(
        inputs=len(asked.values),
        input_source=asked.source,
        loop=FrameLoop.model_validate(told["loop"]),
        others_share=company.share(),
        steal_share=company.steal(),
    )


def warnings(section: FrameSection) -> tuple[str, ...]:
    """What makes the figures of frames doubtful."""
    return tuple(f"against a clock: {doubt}" for doubt in doubts(section.others_share, section.steal_share))
