"""What a benchmark shall be held to, checked before anything is measured."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgetune.bench.definitions import AT, DEFINITIONS, SUSTAINED, Definition
from edgetune.bench.objective import Objective
from edgetune.bench.plan import Plan
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
#: Metrics that only requests at a rate of their own have.
OF_RATE = ("offered_rate",)
#: Metrics of the benchmark alone with many samples a round: medians of rounds are kept, and no largest sample.
MANY_A_ROUND = ("itl_raw", "overhead_per_token")
_WITHOUT_MAX = {DEFINITIONS[name].text for name in MANY_A_ROUND}


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
        realtime = self.target is not None and self.target.kind == "realtime"
        return realtime or self.rate is not None or any(one.metric in figures.DEFINITIONS for one in self.objectives)

    def is_answered_by(self, report: BenchReport) -> bool:
        """Whether a stored report, measured as :meth:`filled_in` says, has been held to the very same."""
        if (report.target, [verdict.objective for verdict in report.verdicts]) != (self.name, [*self.objectives]):
            return False
        if not self.needs_loop:
            return True
        section, new_tokens = report.realtime, self.new_tokens or report.settings.new_tokens
        return section is not None and (section.judged.rate, section.new_tokens) == (self.rate, new_tokens)

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
        TargetError: unknown target, invalid file, a metric or unit that no benchmark measures, a device, or frames.
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
    if found is not None and found.scenario == "frames":
        raise TargetError(
            f"{found.name} is for models that take frames, and what edgetune measures writes text",
            hint="edgetune targets list",
        )
    objectives = (*(found.held_to if found else ()), *(read_objectives(slo) if slo else ()))
    name = " and ".join(filter(None, [found.name if found else None, slo.name if slo else None]))
    rate = rate or (found.rate if found is not None else None)
    _require_measurable(objectives, name, rate=rate)
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


def _known() -> dict[str, Definition]:
    """Everything that a benchmark measures; what loops measure is what objectives are judged by."""
    return {**DEFINITIONS, **SUSTAINED, **figures.DEFINITIONS}


def _definition(metric: str) -> Definition | None:
    """Of a metric, also of one where something was varied (``decode@depth=512``); None: it is not measured."""
    name, varied, _ = metric.partition("@")
    return (AT if varied else _known()).get(name)


def _or_max(known: Definition) -> str:
    return " or max" if known.better == "lower" and known.text not in _WITHOUT_MAX else ""


def _with_unit(objective: Objective) -> Objective:
    known = _definition(objective.metric)
    return objective if objective.unit or known is None else objective.model_copy(update={"unit": known.unit})


def _require_measurable(objectives: Sequence[Objective], name: str, *, rate: float | None) -> None:
    problems = [f"{one.text}: {problem}" for one in objectives for problem in _problems(one, rate=rate)]
    first = figures.limit_of(objectives, ("first_clause", "ttft"))
    if first is None and any(one.metric == "deadline_miss" for one in objectives):
        problems.append("deadline_miss: no objective says when the first token is due: add one on ttft or first_clause")
    if problems:
        raise TargetError(
            f"{name} cannot be measured as it is: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="docs/reference/metrics.md has every metric with its unit",
            problems=problems,
        )


def _problems(objective: Objective, *, rate: float | None) -> Iterator[str]:
    metric = objective.metric
    known = _definition(metric)
    if known is None:
        near = difflib.get_close_matches(metric, _known(), n=2, cutoff=0.5)
        yield "no benchmark measures it" + (f"; did you mean {' or '.join(near)}?" if near else "")
        return
    if objective.unit is not None and factor(known.unit, objective.unit) is None:
        yield f"{metric} is measured in {known.unit}"
    if (metric == "deadline_miss") != (objective.statistic == "share"):
        yield "the statistic share is that of deadline_miss, and its only one"
    if objective.percent is not None and not known.tail:
        yield f"a benchmark gives no {objective.statistic} of {metric}: use median" + _or_max(known)
    if objective.statistic == "max" and known.better == "higher":
        yield f"more {metric} is better, so its largest one says nothing: use median"
    if objective.statistic == "max" and metric in MANY_A_ROUND:
        yield f"a benchmark keeps no max of {metric}, which has many samples a round: use median"
    if metric in OF_RATE and rate is None:
        yield "measured in an open loop: give --rate"
    if metric == "highest_rate" and rate is not None:
        yield "searched for only where no --rate is given"
