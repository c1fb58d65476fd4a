"""Objectives against what was measured: met, missed by how much, or why it cannot be judged."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from edgetune.bench.objective import Objective, Verdict
from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.statistics import Percentile, median, percentile
from edgetune.errors import CheckFailed, NotJudged
from edgetune.targets.units import factor

#: What a rank misses a whole number by, in floating point, and more.
_ROUNDING = 1e-9
#: The reason that :func:`~edgetune.bench.statistics.percentile` gives.
_TOO_FEW = re.compile(r"\d+ samples; p[\d.]+ needs \d+")


@dataclass(frozen=True)
class Measured:
    """One metric as it was measured.

    Attributes:
        unit: of the numbers here.
        how: how it was measured, for people.
        values: every sample; empty where only statistics were kept.
        statistics: name → value, for where samples were not kept.
        samples: how many there were.
        reasons: statistic → why it is not there; ``median`` speaks for a metric without any sample.
        below: where what was found is the least that it can be, what it is surely below, infinite if that is not known;
            None: what was found is it.
        absent: requests that had no answer at all. They keep no limit: to a statistic they are later than all others.
    """

    unit: str
    how: str
    values: Sequence[float] = ()
    statistics: Mapping[str, float | None] = field(default_factory=dict)
    samples: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    below: float | None = None
    absent: int = 0

    def value(self, objective: Objective) -> tuple[float | None, str | None]:
        """The statistic that an objective is about, in this metric's unit, or why there is none."""
        if self.samples == 0:
            return None, self.reasons.get("median", "there are no samples of it")
        name = "median" if objective.statistic == "p50" else objective.statistic
        if not self.values:
            found = self.statistics.get(name)
            return found, None if found is not None else self.reasons.get(name, f"{name} of it was not kept")
        if objective.percent is not None:
            return self._ranked(objective.percent, partial(percentile, percent=objective.percent))
        if name == "median":
            return self._ranked(50.0, lambda every: Percentile(median(every)))
        if name == "max":
            return self._ranked(100.0, lambda every: Percentile(max(every)))
        return float(np.mean(self.values)), None

    def _ranked(self, percent: float, of: Callable[[list[float]], Percentile]) -> tuple[float | None, str | None]:
        """A statistic by rank, unless it falls on a request that had no answer."""
        every = [*self.values, *[max(self.values)] * self.absent]
        highest = math.ceil((len(every) - 1) * percent / 100 - _ROUNDING)  # the upper of the two that it lies between
        if highest >= len(self.values):
            return None, f"{self.absent} of {len(every)} requests had no answer"
        found = of(every)
        return found.value, found.reason


def judge(objectives: Sequence[Objective], measured: Mapping[str, Measured]) -> tuple[Verdict, ...]:
    """A verdict on each objective.

    >>> objective = Objective(metric="ttft", at_most=0.25, unit="s")
    >>> print(judge([objective], {"ttft": Measured("ms", "here", values=[300.0], samples=1)})[0].text)
    missed      ttft median ≤ 0.25 s: 0.3 s, 0.05 s (20%) too much  (1 samples, here)
    """
    return tuple(_verdict(objective, measured.get(objective.metric)) for objective in objectives)


def _verdict(objective: Objective, measured: Measured | None) -> Verdict:
    if measured is None:
        return _unjudged(objective, f"{objective.metric} was not measured")
    objective = objective if objective.unit else objective.model_copy(update={"unit": measured.unit})
    assert objective.unit, "filled in"
    scale = factor(measured.unit, objective.unit)
    if scale is None:
        return _unjudged(objective, f"{objective.metric} is measured in {measured.unit}, not in {objective.unit}")
    value, reason = measured.value(objective)
    if value is None:
        return _unjudged(objective, reason or "there is no such statistic", measured.samples)
    value *= scale
    if measured.below is not None and value < objective.limit < measured.below * scale:
        return _unjudged(objective, measured.reasons["below"], measured.samples)
    beyond = value - objective.limit if objective.at_most is not None else objective.limit - value
    return Verdict(
        objective=objective,
        outcome="missed" if beyond > 0 else "met",
        value=value,
        beyond=beyond,
        samples=measured.samples,
        measured_as=measured.how,
    )


def _unjudged(objective: Objective, reason: str, samples: int = 0) -> Verdict:
    return Verdict(objective=objective, outcome="not judged", value=None, samples=samples, reason=reason)


def measured_in(report: BenchReport) -> dict[str, Measured]:
    """The figures of a benchmark, by name."""
    return {figure.name: _of_figure(figure, report.scenario) for figure in report.figures}


def _of_figure(figure: Figure, scenario: str) -> Measured:
    statistics: dict[str, float | None] = {"median": figure.median, **figure.percentiles}
    if figure.rounds and len(figure.rounds) == figure.samples:  # one sample a round: none is larger than these
        statistics["max"] = max(figure.rounds)
    if figure.samples == 1:  # the one sample is the largest, and a share is one number
        statistics |= {"max": figure.median, "share": figure.median}
    return Measured(
        figure.unit, f"benchmark, {scenario}", statistics=statistics, samples=figure.samples, reasons=figure.reasons
    )


def require_met(
    verdicts: Sequence[Verdict],
    what: str,
    otherwise: str | None = None,
) -> None:
    """End with exit code 9 where an objective is missed, 15 where one cannot be judged.

    Args:
        verdicts: of one thing.
        what: it is.
        otherwise: hint where some could not be judged; default: by the reasons.

    Raises:
        CheckFailed: naming each objective that is missed, and by how much.
        NotJudged: none is missed, but some could not be judged.
    """
    missed = [one.text for one in verdicts if one.outcome == "missed"]
    unjudged = [one.text for one in verdicts if one.outcome == "not judged"]
    if missed:
        count = f"{len(missed)} of {len(verdicts)} objectives"
        raise CheckFailed(
            f"{what} misses {count}",
            hint="a smaller precision, a shorter prompt or a faster machine; `edgetune targets show` has the limits",
            problems=[*missed, *unjudged],
        )
    if unjudged:
        raise NotJudged(
            f"{len(unjudged)} of {len(verdicts)} objectives of {what} cannot be judged",
            hint=otherwise or _hint(verdicts),
            problems=unjudged,
        )


def _hint(verdicts: Sequence[Verdict]) -> str:
    """What would help: more samples help only where they are too few."""
    if any(one.reason and _TOO_FEW.search(one.reason) for one in verdicts if one.outcome == "not judged"):
        return "a statistic that needs fewer samples, or, where time was up, more --seconds"
    if any(one.objective.metric == "retention" for one in verdicts if one.outcome == "not judged"):
        return "decode longer: --sustained 5"
    return "each says why; longer measuring does not help: hold it to what can be measured, with --slo FILE"


def require_one_met(artifacts: Mapping[str, Sequence[Verdict]]) -> None:
    """End as :func:`require_met` does where no artifact of several meets every objective: there is none to ship.

    Args:
        artifacts: name → its verdicts.
    """
    if not artifacts or any(all(one.outcome == "met" for one in verdicts) for verdicts in artifacts.values()):
        return
    if len(artifacts) == 1:
        for name, verdicts in artifacts.items():
            require_met(verdicts, name)
    problems = [f"{name}: {one.text}" for name, all_ in artifacts.items() for one in all_ if one.outcome != "met"]
    missed = any(one.outcome == "missed" for verdicts in artifacts.values() for one in verdicts)
    kind = CheckFailed if missed else NotJudged
    raise kind(
        f"none of {len(artifacts)} artifacts meets every objective",
        hint="`edgetune bench` on one of them has the figures; `edgetune targets show` has the limits",
        problems=problems,
    )
