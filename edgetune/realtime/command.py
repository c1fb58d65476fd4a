"""``edgetune bench`` with objectives."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.bench.command import Words, require_storable
from edgetune.bench.schema import BenchReport
from edgetune.bench.single_stream import bench_subjects
from edgetune.bench.subjects import choose_subjects
from edgetune.realtime.measuring import hold, needed_seconds
from edgetune.realtime.planned import require_planned
from edgetune.realtime.wanted import find_wanted
from edgetune.targets.judging import require_met


def bench_held(words: Words, seconds: float) -> list[BenchReport]:
    """Measure what the words say, and hold each to the objectives; without any it is the plain benchmark.

    Args:
        words: of the command line.
        seconds: of requests or frames against a clock, for each subject.

    Raises:
        EdgetuneError: see :func:`~edgetune.bench.single_stream.bench_subjects`; TargetError: wrong objectives, and
            ResourceError: reports cannot be stored where they shall be, both said before anything is measured.
    """
    chosen = choose_subjects(words.subjects, words.names, base=words.base, runtime=words.runtime, torch=words.torch)
    require_storable(words.output, len(chosen))
    classifies = any(subject.classifies for subject in chosen)
    wanted = find_wanted(words.target, words.slo, words.rate, classifies=classifies)
    plan = wanted.filled_in(words.plan())
    require_planned(wanted, plan)
    reports = bench_subjects(chosen, plan)
    return [
        hold(report, subject, wanted, plan, seconds=seconds) for report, subject in zip(reports, chosen, strict=True)
    ]


def require_all_met(reports: Sequence[BenchReport]) -> None:
    """End with exit code 9 or 15 at the first report with an objective that is not met; see :func:`require_met`."""
    for report in reports:
        seconds = needed_seconds(report.realtime) if report.realtime is not None else None
        if seconds is None:
            require_met(report.verdicts, report.subject.name)
        else:
            require_met(report.verdicts, report.subject.name, otherwise=f"about --seconds {seconds} would be enough")
