"""What a benchmark shall be held to, checked before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from edgetune.bench.objective import Objective
from edgetune.bench.plan import Plan
from edgetune.bench.schema import BenchReport
from edgetune.bench.statistics import floor
from edgetune.errors import TargetError
from edgetune.realtime import figures
from edgetune.realtime.measurable import definition_of, require_measurable
from edgetune.recipe import Resolved
from edgetune.targets.finding import find_target, is_path
from edgetune.targets.reading import read_objectives
from edgetune.targets.target import Target

#: Requests of a loop whose objectives ask for no percentile that needs more.
FEWEST = 30
#: Seconds of frames that a camera's objectives are judged by, where there is time.
FRAME_SECONDS = 30.0
#: So many times what a percentile needs is asked, where not everything that is asked gives a value.
SPARE = 1.1


@dataclass(frozen=True)
class Wanted:
    """Objectives and where they come from.

    Attributes:
        name: of the target, the file, or both; None: nothing is wanted.
        target: None with an SLO file alone.
        objectives: each with its unit.
        rate: requests a second of the open loop; None: one request at a time, and a search for the highest rate. Of
            what classifies: frames a second; None: no frames.
        classifies: what is held to them tells classes.
    """

    name: str | None
    target: Target | None
    objectives: tuple[Objective, ...]
    rate: float | None = None
    classifies: bool = False

    @property
    def new_tokens(self) -> int | None:
        """Longest answer of the loops, where the target says."""
        return self.target.new_tokens if self.target is not None else None

    def filled_in(self, plan: Plan) -> Plan:
        """The plan, with the target's threads and context where it says nothing of them itself."""
        if self.target is None:
            return plan
        context = () if self.target.context is None else (self.target.context,)
        return replace(plan, threads=plan.threads or self.target.threads, contexts=plan.contexts or context)

    @property
    def needs_loop(self) -> bool:
        """Whether requests have to be made against a clock."""
        if self.classifies:
            return False
        realtime = self.target is not None and self.target.kind == "realtime"
        return realtime or self.rate is not None or any(one.metric in figures.DEFINITIONS for one in self.objectives)

    @property
    def needs_frames(self) -> bool:
        """Whether inputs have to come like frames of a camera."""
        return self.classifies and self.rate is not None

    @property
    def frames_done(self) -> int:
        """Frames that the strictest percentile needs: done, and not dropped."""
        return max([1, *(floor(one.percent) for one in self.objectives if one.metric == "frame" and one.percent)])

    def frames(self, seconds: float) -> int:
        """Frames within so many seconds: as many as the strictest percentile needs, and some more against chance."""
        assert self.rate is not None, "frames have a rate"
        shortest = max(FRAME_SECONDS, SPARE * self.frames_done / self.rate)
        return max(1, round(self.rate * min(seconds, shortest)))

    def is_answered_by(self, report: BenchReport) -> bool:
        """Whether a stored report, measured as :meth:`filled_in` says, has been held to the very same."""
        if (report.target, [verdict.objective for verdict in report.verdicts]) != (self.name, [*self.objectives]):
            return False
        if self.needs_frames:
            return report.frames is not None and report.frames.loop.rate == self.rate
        if not self.needs_loop:
            return True
        section, new_tokens = report.realtime, self.new_tokens or report.settings.new_tokens
        return section is not None and (section.judged.rate, section.new_tokens) == (self.rate, new_tokens)

    @property
    def requests(self) -> int:
        """Requests that the strictest percentile of one value a request needs.

        Of a gap some more: an answer of one token has none.
        """
        needed = [
            math.ceil(floor(one.percent) * (SPARE if one.metric == "itl_mean" else 1))
            for one in self.objectives
            if one.percent and one.metric in figures.OF_REQUEST
        ]
        return max([FEWEST, *needed])


def find_wanted(target: str | None, slo: Path | None, rate: float | None = None, *, classifies: bool = False) -> Wanted:
    """The objectives of a target, of an SLO file, or both; none where neither is given.

    Args:
        target: name or file of a target.
        slo: file with a list of objectives.
        rate: requests a second of an open loop, or frames a second; default: the target's.
        classifies: what is to be held to them tells classes.

    Raises:
        TargetError: unknown target, invalid file, a metric or unit that no benchmark measures, a device, or a
            target for the other kind of model.
    """
    if target is None and slo is None:
        if rate is not None:
            raise TargetError(
                "a rate needs objectives to be held to", hint="add --target voice-assistant or --slo FILE"
            )
        return Wanted(None, None, (), classifies=classifies)
    found = find_target(target) if target is not None else None
    if found is not None and found.kind == "mobile":
        raise TargetError(
            f"{found.name} is a device, and what this machine measures says nothing about it",
            hint=_device_hint(found),
        )
    if found is not None:
        _require_kind(found, classifies=classifies)
    objectives = (*(found.held_to if found else ()), *(read_objectives(slo) if slo else ()))
    name = " and ".join(filter(None, [found.name if found else None, slo.name if slo else None]))
    rate = rate or (found.rate if found is not None else None)
    require_measurable(objectives, name, rate=rate, classifies=classifies)
    full = tuple(_with_unit(one, classifies=classifies) for one in objectives)
    return Wanted(name, found, full, rate, classifies)


def _require_kind(target: Target, *, classifies: bool) -> None:
    """Refuse a target for what classifies on what writes, and the other way round."""
    if target.scenario == "frames" and not classifies:
        raise TargetError(
            f"{target.name} is for models that classify, a frame at a time, and this one writes text",
            hint="edgetune targets list",
        )
    if target.kind == "realtime" and target.scenario != "frames" and classifies:
        raise TargetError(
            f"{target.name} is for models that write text, and this one classifies",
            hint="--target camera-30fps, or --slo FILE with objectives on latency, batch_rate or peak_rss",
        )


def _device_hint(target: Target) -> str:
    """The commands that say something about a device, and of what kind."""
    named = f" --device {target.device}" if target.device else ""
    if target.transport == "none":
        return f"edgetune device project ARTIFACT{named}, which is projected and not measured"
    return (
        f"edgetune device measure ARTIFACT --over {target.transport} --runner FILE{named}, or projected: device project"
    )


def wanted_by_recipe(resolved: Resolved) -> Wanted:
    """As :func:`find_wanted`, for the target and the SLO file of a recipe; its paths are relative to its folder."""
    target, slo = resolved.recipe.bench.target, resolved.recipe.bench.slo
    if target is not None and is_path(target):
        target = str(resolved.locate(target))
    return find_wanted(
        target,
        resolved.locate(slo) if slo is not None else None,
        classifies=resolved.recipe.task.kind != "generation",
    )


def _with_unit(objective: Objective, *, classifies: bool) -> Objective:
    known = definition_of(objective.metric, classifies=classifies)
    return objective if objective.unit or known is None else objective.model_copy(update={"unit": known.unit})
