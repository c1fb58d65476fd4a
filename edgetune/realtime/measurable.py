"""Which metrics there are, and which statistics of them, by what is measured: a model that writes, or a classifier."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from edgetune.bench.definitions import AT, CLASSIFYING, DEFINITIONS, SHARED, SUSTAINED, Definition
from edgetune.bench.objective import Objective
from edgetune.errors import TargetError
from edgetune.realtime import figures, frames
from edgetune.targets.units import factor

#: Metrics that only requests at a rate of their own have.
OF_RATE = ("offered_rate",)
#: Metrics of the benchmark alone with many samples a round: medians of rounds are kept, and no largest sample.
MANY_A_ROUND = ("itl_raw", "overhead_per_token", "overhead_e2e", "latency", "latency_raw", "overhead", "batch_rate_raw")
#: Metrics that are a share themselves.
_SHARES = ("deadline_miss", "frames_dropped")


def definition_of(metric: str, *, classifies: bool) -> Definition | None:
    """Of a metric, also of one where something was varied (``decode@depth=512``); None: it is not measured."""
    name, varied, _ = metric.partition("@")
    return (AT if varied else _known(classifies=classifies)).get(name)


def _known(*, classifies: bool) -> dict[str, Definition]:
    """Everything that is measured; what loops measure is what objectives are judged by."""
    if classifies:
        return {**{name: DEFINITIONS[name] for name in SHARED}, **CLASSIFYING, **frames.DEFINITIONS}
    return {**DEFINITIONS, **SUSTAINED, **figures.DEFINITIONS}


def require_measurable(objectives: Sequence[Objective], name: str, *, rate: float | None, classifies: bool) -> None:
    """Refuse objectives that nothing can judge.

    Args:
        objectives: what is wanted.
        name: of the target or file.
        rate: of requests or frames; None: none is given.
        classifies: whether what is measured tells classes.

    Raises:
        TargetError: with a problem for each.
    """
    problems = [
        f"{one.text}: {problem}" for one in objectives for problem in _problems(one, rate=rate, classifies=classifies)
    ]
    first = figures.limit_of(objectives, ("first_clause", "ttft"))
    if not classifies and first is None and any(one.metric == "deadline_miss" for one in objectives):
        problems.append("deadline_miss: no objective says when the first token is due: add one on ttft or first_clause")
    if problems:
        raise TargetError(
            f"{name} cannot be measured as it is: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="docs/reference/metrics.md has every metric with its unit",
            problems=problems,
        )


def _problems(objective: Objective, *, rate: float | None, classifies: bool) -> Iterator[str]:
    metric = objective.metric
    known = definition_of(metric, classifies=classifies)
    if known is None:
        yield _unknown(metric, classifies=classifies)
        return
    if objective.unit is not None and factor(known.unit, objective.unit) is None:
        yield f"{metric} is measured in {known.unit}"
    yield from _of_limit(objective, known)
    if metric in OF_RATE and rate is None:
        yield "measured in an open loop: give --rate"
    if classifies and metric in frames.DEFINITIONS and rate is None:
        yield "measured of frames at a fixed rate: give --target camera-30fps, or --rate"
    if metric == "highest_rate" and rate is not None:
        yield "searched for only where no --rate is given"


def _of_limit(objective: Objective, known: Definition) -> Iterator[str]:
    """What is wrong with a statistic or a limit of a metric that there is."""
    metric = objective.metric
    if objective.at_least is not None and known.better == "lower":
        yield f"less {metric} is better, so at_least is a limit in the wrong direction: use at_most"
    if objective.at_most is not None and known.better == "higher":
        yield f"more {metric} is better, so at_most is a limit in the wrong direction: use at_least"
    if (metric in _SHARES) != (objective.statistic == "share"):
        yield "the statistic share is that of deadline_miss, and its only one"
    if objective.percent is not None and not known.tail:
        yield f"a benchmark gives no {objective.statistic} of {metric}: use median" + _or_max(metric, known)
    if objective.statistic == "max" and known.better == "higher":
        yield f"more {metric} is better, so its largest one says nothing: use median"
    if objective.statistic == "max" and metric in MANY_A_ROUND:
        yield f"a benchmark keeps no max of {metric}, which has many samples a round: use median"


def _unknown(metric: str, *, classifies: bool) -> str:
    if definition_of(metric, classifies=not classifies) is not None:
        return f"only {'what writes text' if classifies else 'what classifies'} has it"
    if metric == "ttft_bound":
        return "edgetune device measure alone measures it"
    near = difflib.get_close_matches(metric, _known(classifies=classifies), n=2, cutoff=0.5)
    return "no benchmark measures it" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _or_max(metric: str, known: Definition) -> str:
    """Where a largest sample is kept and says something."""
    return " or max" if known.better == "lower" and metric not in MANY_A_ROUND else ""
