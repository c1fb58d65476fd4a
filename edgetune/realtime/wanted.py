"""What a benchmark shall be held to, checked before anything is measured."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetune.bench.definitions import AT, DEFINITIONS, SUSTAINED
from edgetune.bench.objective import Objective
from edgetune.bench.schema import BenchReport
from edgetune.bench.statistics import floor
from edgetune.errors import TargetError
from edgetune.realtime import figures
from edgetune.recipe import Resolved
from edgetune.targets.finding import find_target, is_path
from edgetune.targets.reading import read_objectives
from edgetune.targets.target import Target
from edgetune.targets.units import factor

#: Requests of a loop whose objectives ask for no percentile that needs more.
FEWEST = 30
#: Metrics of frames, and those that only requests at a rate of their own have.
OF_FRAMES = ("frame", "frames_done")
OF_RATE = ("offered_rate",)
#: Metrics of which a benchmark has one number.
SINGLE = ("jitter", "goodput", "offered_rate", "achieved_rate", "highest_rate", "frames_done", "peak_rss")


@dataclass(frozen=True)
class Wanted:
    """Objectives and where they come from.

    Attributes:
        name: of the target, the file, or both; None: nothing is wanted.
        target: None with an SLO file alone.
        objectives: each with its unit.
        rate: requests a second of the open loop; None: one request at a time, and a search for the highest rate.
    """

    name: str | None
    target: Target | None
    objectives: tuple[Objective, ...]
    rate: float | None = None

    @property
    def threads(self) -> int | None:
        """Of the runtime, where the target says."""
        return self.target.threads if self.target is not None else None

    @property
    def needs_loop(self) -> bool:
        """Whether requests have to be made against a clock."""
        realtime = self.target is not None and self.target.kind == "realtime"
        return realtime or self.rate is not None or any(one.metric in figures.DEFINITIONS for one in self.objectives)

    def require_fit(self, name: str) -> None:
        """Refuse an artifact that the target is not about, before anything is measured.

        Raises:
            TargetError: frames for a model that writes text.
        """
        if self.target is not None and self.target.scenario == "frames":
            raise TargetError(
                f"{self.target.name} is for models that take frames, and {name} writes text",
                hint="edgetune targets list",
            )

    def is_answered_by(self, report: BenchReport) -> bool:
        """Whether a stored report has been held to the very same."""
        return (report.target, [verdict.objective for verdict in report.verdicts]) == (self.name, [*self.objectives])

    @property
    def requests(self) -> int:
        """Requests that the strictest percentile of one value a request needs."""
        percents = [one.percent for one in self.objectives if one.metric in figures.OF_REQUEST]
        return max([FEWEST, *(floor(percent) for percent in percents if percent)])


def find_wanted(target: str | None, slo: Path | None, rate: float | None = None) -> Wanted:
    """The objectives of a target, of an SLO file, or both; none where neither is given.

    Args:
        target: name or file of a target.
        slo: file with a list of objectives.
        rate: requests a second of an open loop; default: the target's.

    Raises:
        TargetError: unknown target, invalid file, a metric or unit that no benchmark measures, or a device.
    """
    if target is None and slo is None:
        if rate is not None:
            raise TargetError(
                "a rate needs objectives to be held to", hint="add --target voice-assistant or --slo FILE"
            )
        return Wanted(None, None, ())
    found = find_target(target) if target is not None else None
    if found is not None and found.kind == "mobile":
        raise TargetError(
            f"{found.name} is a device, and what this machine measures says nothing about it",
            hint=_device_hint(found),
        )
    objectives = (*(found.held_to if found else ()), *(read_objectives(slo) if slo else ()))
    frames = found is not None and found.scenario == "frames"
    name = " and ".join(filter(None, [found.name if found else None, slo.name if slo else None]))
    if found is not None and not frames:
        rate = rate or found.rate
    _require_measurable(objectives, name, frames=frames, rate=rate)
    return Wanted(name, found, tuple(_with_unit(one) for one in objectives), rate)


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
    return find_wanted(target, resolved.locate(slo) if slo is not None else None)


def _units() -> dict[str, str]:
    """Metric → unit of everything that a benchmark measures."""
    bench = {name: one.unit for name, one in {**DEFINITIONS, **SUSTAINED}.items()}
    return bench | {name: unit for name, (unit, _) in figures.DEFINITIONS.items()}


def _unit(metric: str) -> str | None:
    """Unit of a metric, also of one where something was varied (``decode@depth=512``); None: it is not measured."""
    name, varied, _ = metric.partition("@")
    if varied:
        return AT[name].unit if name in AT else None
    return _units().get(name)


def _with_unit(objective: Objective) -> Objective:
    return objective if objective.unit else objective.model_copy(update={"unit": _unit(objective.metric)})


def _require_measurable(objectives: Sequence[Objective], name: str, *, frames: bool, rate: float | None) -> None:
    problems = [f"{one.text}: {problem}" for one in objectives for problem in _problems(one, frames=frames, rate=rate)]
    first = figures.limit_of(objectives, ("first_clause", "ttft"))
    if not frames and first is None and any(one.metric == "deadline_miss" for one in objectives):
        problems.append("deadline_miss: no objective says when the first token is due: add one on ttft or first_clause")
    if problems:
        raise TargetError(
            f"{name} cannot be measured as it is: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="docs/reference/metrics.md has every metric with its unit",
            problems=problems,
        )


def _problems(objective: Objective, *, frames: bool, rate: float | None) -> Iterator[str]:
    metric = objective.metric
    unit = _unit(metric)
    if unit is None:
        near = difflib.get_close_matches(metric, _units(), n=2, cutoff=0.5)
        yield "no benchmark measures it" + (f"; did you mean {' or '.join(near)}?" if near else "")
        return
    if objective.unit is not None and factor(unit, objective.unit) is None:
        yield f"{metric} is measured in {unit}"
    if (metric == "deadline_miss") != (objective.statistic == "share"):
        yield "the statistic share is that of deadline_miss, and its only one"
    if objective.percent is not None and metric in SINGLE:
        yield f"a benchmark has one {metric}, and no {objective.statistic} of it: use median"
    if metric in OF_FRAMES and not frames:
        yield "measured with a target whose scenario is frames"
    if metric in OF_RATE and rate is None:
        yield "measured in an open loop: give --rate"
    if metric == "highest_rate" and rate is not None:
        yield "searched for only where no --rate is given"
