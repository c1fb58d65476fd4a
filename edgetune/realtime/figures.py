"""From the raw samples of a loop to figures, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from edgetune.bench.definitions import Definition
from edgetune.bench.figuring import figure, gaps_of
from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import RateSearch, RealtimeLoop, RealtimeRequest, RealtimeSection
from edgetune.bench.schema import Figure
from edgetune.bench.statistics import mad
from edgetune.realtime.clause import CLAUSE_DEFINITION
from edgetune.targets.judging import Measured
from edgetune.targets.units import factor

_definition = partial(Definition, compared=False)
#: In the order in which they are printed. All samples are of one process, so that runs are not compared by them.
DEFINITIONS: dict[str, Definition] = {
    "ttft": _definition(
        "ms", "first output token visible - request scheduled; template, tokenisation and waiting included", tail=True
    ),
    "first_clause": _definition("ms", f"clause ready - request scheduled; the {CLAUSE_DEFINITION}", tail=True),
    "e2e": _definition("ms", "last output token visible - request scheduled; waiting included", tail=True),
    "wait": _definition("ms", "work on a request began - request scheduled: what it queued for", tail=True),
    "itl": _definition(
        "ms", "every gap between consecutive output tokens of one answer, all answers pooled", tail=True
    ),
    "itl_mean": _definition("ms", "of each request: (last token - first token) / (tokens - 1)", tail=True),
    "jitter": _definition("ms", "median absolute deviation of all gaps from their median"),
    "deadline_miss": _definition(
        "share",
        "share of tokens later than due: those of the first clause (or the first one) by the limit of first_clause "
        "(or ttft), each later one the limit of itl after the one before it was due",
    ),
    "goodput": _definition(
        "requests/s",
        "requests that keep every limit on ttft, first_clause, e2e and wait, and whose mean gap keeps those on itl "
        "and itl_mean, over the time from the start to the last answer",
        "higher",
    ),
    "offered_rate": _definition(
        "requests/s", "open loop: requests scheduled / time of the last one's schedule", "higher"
    ),
    "achieved_rate": _definition("requests/s", "requests answered / time from the start to the last answer", "higher"),
    "highest_rate": _definition(
        "requests/s",
        "highest rate of seeded Poisson arrivals, of those measured, at which every objective is met",
        "higher",
    ),
}
#: Metrics with one value for each request, and how to read it, in seconds.
OF_REQUEST = ("ttft", "first_clause", "e2e", "wait", "itl_mean")
#: Of them those that every answer has, however short.
OF_ANSWER = ("ttft", "first_clause", "e2e")
GAPS = ("itl", "itl_mean")


def of_request(request: RealtimeRequest, metric: str) -> float | None:
    """One of :data:`OF_REQUEST` in seconds; None where an answer is too short to have it."""
    if metric == "wait":
        return request.started_s
    if not request.token_s:
        return None
    if metric == "itl_mean":
        gaps = len(request.token_s) - 1
        return (request.token_s[-1] - request.token_s[0]) / gaps if gaps else None
    return {"ttft": request.token_s[0], "first_clause": request.clause_s, "e2e": request.token_s[-1]}[metric]


def measured_of(loop: RealtimeLoop, objectives: Sequence[Objective]) -> dict[str, Measured]:
    """Every metric of a loop; objectives say when a token is late and a request is good.

    An open loop that was cut off has no values: the requests that waited longest are not among those answered.
    """
    gaps = [gap for request in loop.requests for gap in gaps_of(request.token_s)]
    values: dict[str, list[float]] = {
        name: [1e3 * value for one in loop.requests if (value := of_request(one, name)) is not None]
        for name in OF_REQUEST
    }
    values |= {"itl": [1e3 * gap for gap in gaps], "jitter": [1e3 * mad(gaps)] if gaps else []}
    values["deadline_miss"] = [float(late) for request in loop.requests for late in _late(request, objectives)]
    if loop.requests:
        seconds = max(one.scheduled_s + one.finished_s for one in loop.requests)
        values["achieved_rate"] = [len(loop.requests) / seconds]
        values["goodput"] = [sum(is_good(request, objectives) for request in loop.requests) / seconds]
        if loop.scenario == "open loop":
            values["offered_rate"] = [len(loop.requests) / loop.requests[-1].scheduled_s]
    how = loop.scenario if loop.rate is None else f"{loop.scenario} at {loop.rate:.3g} requests/s"
    if loop.scenario == "open loop" and loop.stopped is not None:
        reason = f"{loop.stopped} of {loop.planned}: those that had to wait longest are not among them"
        return {name: _measured(name, (), how, reason) for name in values}
    empty = sum(not request.token_s for request in loop.requests)
    measured = {name: _measured(name, found, how) for name, found in values.items()}
    return measured | {name: replace(measured[name], absent=empty) for name in OF_ANSWER}


def measured_of_section(section: RealtimeSection, objectives: Sequence[Objective]) -> dict[str, Measured]:
    """What objectives are judged by."""
    found = measured_of(section.judged, objectives)
    if section.search is not None:
        search = section.search
        values = [] if search.highest_met is None else [search.highest_met]
        rate = _measured("highest_rate", values, "search", section.no_rate)
        reasons = {**rate.reasons, "below": _above(search)}
        found["highest_rate"] = replace(rate, below=search.lowest_missed or math.inf, reasons=reasons)
    return found


def _above(search: RateSearch) -> str:
    """Why nobody knows whether a rate above the highest that met the objectives meets them too."""
    gap = "" if search.lowest_missed is None else f" and below {search.lowest_missed:.3g}, which misses some,"
    return f"above {search.highest_met or 0.0:.3g} requests/s, which meets all,{gap} none was measured: {search.ended}"


def is_good(request: RealtimeRequest, objectives: Sequence[Objective]) -> bool:
    """Whether a request by itself keeps every limit that can be asked of one."""
    for objective in objectives:
        metric = "itl_mean" if objective.metric == "itl" else objective.metric
        if metric in OF_REQUEST and (limit := seconds_of(objective)) is not None:
            value = of_request(request, metric)
            if value is None and metric != "itl_mean":  # an answer without a word keeps no promise
                return False
            if value is not None and value > limit:
                return False
    return True


def seconds_of(objective: Objective) -> float | None:
    """The upper limit of a time in seconds; None for any other objective."""
    if objective.at_most is None:
        return None
    scale = factor(objective.unit or "ms", "s")
    return None if scale is None else objective.at_most * scale


def limit_of(objectives: Sequence[Objective], metrics: Sequence[str]) -> tuple[str, float] | None:
    """The first of ``metrics`` that an objective limits, and its smallest limit in seconds."""
    for metric in metrics:
        limits = [limit for one in objectives if one.metric == metric and (limit := seconds_of(one)) is not None]
        if limits:
            return metric, min(limits)
    return None


def _late(request: RealtimeRequest, objectives: Sequence[Objective]) -> Iterator[bool]:
    """Whether each token that has a deadline was late."""
    first, gap = limit_of(objectives, ("first_clause", "ttft")), limit_of(objectives, GAPS)
    if first is None:
        return
    together = request.clause_tokens if first[0] == "first_clause" else 1
    for index, second in enumerate(request.token_s):
        later = max(0, index + 1 - together)
        if later == 0:
            yield second > first[1]
        elif gap is not None:
            yield second > first[1] + later * gap[1]


def _measured(name: str, values: Sequence[float], how: str, absent: str = "no answer was long enough") -> Measured:
    reasons = {} if values else {"median": absent}
    return Measured(DEFINITIONS[name].unit, how, values=tuple(values), samples=len(values), reasons=reasons)


def figure_of(name: str, measured: Measured) -> Figure:
    """A metric as the report keeps it."""
    values = measured.values
    if name == "deadline_miss" and values:  # of yes and no the share says more than the middle one
        values = [sum(values) / len(values)]
    return figure(name, DEFINITIONS[name], [(0, value) for value in values], measured.reasons.get("median"))
