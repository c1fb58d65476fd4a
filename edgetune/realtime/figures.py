"""From the raw samples of a loop to figures, each with its definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import FrameLoop, RealtimeLoop, RealtimeRequest, RealtimeSection
from edgetune.bench.schema import Figure
from edgetune.bench.statistics import mad, median, median_interval, percentile
from edgetune.realtime.clause import CLAUSE_DEFINITION
from edgetune.targets.judging import Measured
from edgetune.targets.units import factor

#: Metric → unit and definition, in the order in which they are printed.
DEFINITIONS: dict[str, tuple[str, str]] = {
    "ttft": ("ms", "first output token visible - request scheduled; template, tokenisation and waiting included"),
    "first_clause": ("ms", f"clause ready - request scheduled; the {CLAUSE_DEFINITION}"),
    "e2e": ("ms", "last output token visible - request scheduled; waiting included"),
    "wait": ("ms", "work on a request began - request scheduled: what it queued for"),
    "itl": ("ms", "every gap between consecutive output tokens of one answer, all answers pooled"),
    "itl_mean": ("ms", "of each request: (last token - first token) / (tokens - 1)"),
    "jitter": ("ms", "median absolute deviation of all gaps from their median"),
    "deadline_miss": (
        "share",
        (
            "share of tokens later than due: those of the first clause (or the first one) by the limit of first_clause "
            "(or ttft), each later one the limit of itl after the one before it was due; of frames, those dropped or "
            "not done when the next one comes"
        ),
    ),
    "goodput": (
        "requests/s",
        (
            "requests that keep every limit on ttft, first_clause, e2e and wait, and whose mean gap keeps those on itl "
            "and itl_mean, over the time from the start to the last answer"
        ),
    ),
    "offered_rate": ("requests/s", "open loop: requests scheduled / time of the last one's schedule"),
    "achieved_rate": ("requests/s", "requests answered / time from the start to the last answer"),
    "highest_rate": (
        "requests/s",
        "highest rate of seeded Poisson arrivals, of those measured, at which every objective is met",
    ),
    "frame": ("ms", "frame done - frame scheduled, of frames that were not dropped"),
    "frames_done": ("frames/s", "frames done / time from the first one's schedule to the last one done"),
}
#: Metrics with one value for each request, and how to read it, in seconds.
OF_REQUEST = ("ttft", "first_clause", "e2e", "wait", "itl_mean")
GAPS = ("itl", "itl_mean")
PERCENTILES = (90, 95, 99)


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
    """Every metric of a loop; objectives say when a token is late and a request is good."""
    gaps = [gap for request in loop.requests for gap in _gaps(request)]
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
    return {name: _measured(name, found, how) for name, found in values.items()}


def measured_of_frames(loop: FrameLoop) -> dict[str, Measured]:
    """Every metric of a loop over frames."""
    done = [one for one in loop.frames if one.finished_s is not None]
    ends = [one.finished_s for one in done if one.finished_s is not None]
    times = [1e3 * (end - one.scheduled_s) for one, end in zip(done, ends, strict=True)]
    late = sum(time > 1e3 / loop.rate for time in times) + len(loop.frames) - len(done)
    values = {
        "frame": times,
        "deadline_miss": [1.0] * late + [0.0] * (len(loop.frames) - late),
        "frames_done": [len(done) / max(ends)] if ends else [],
    }
    how = f"frames at {loop.rate:g} a second"
    return {name: _measured(name, found, how) for name, found in values.items()}


def measured_of_section(section: RealtimeSection, objectives: Sequence[Objective]) -> dict[str, Measured]:
    """What objectives are judged by."""
    found = measured_of(section.judged, objectives)
    if section.frames is not None:
        found |= measured_of_frames(section.frames)
    if section.search is not None:
        met = section.search.highest_met
        values = [] if met is None else [met]
        found["highest_rate"] = _measured("highest_rate", values, "search", "no rate that was measured meets them all")
    return found


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


def _gaps(request: RealtimeRequest) -> list[float]:
    return [after - before for before, after in zip(request.token_s, request.token_s[1:], strict=False)]


def _measured(name: str, values: Sequence[float], how: str, absent: str = "no answer was long enough") -> Measured:
    reasons = {} if values else {"median": absent}
    return Measured(DEFINITIONS[name][0], how, values=tuple(values), samples=len(values), reasons=reasons)


def figure(name: str, measured: Measured) -> Figure:
    """A metric as the report keeps it."""
    unit, definition = DEFINITIONS[name]
    values = measured.values
    if not values:
        return Figure(
            name=name, unit=unit, definition=definition, median=None, samples=0, reasons=dict(measured.reasons)
        )
    if name == "deadline_miss":  # of yes and no the share says more than the middle one
        share = sum(values) / len(values)
        return Figure(name=name, unit=unit, definition=definition, median=share, samples=1)
    tails = {f"p{p}": percentile(values, p) for p in PERCENTILES} if name in (*OF_REQUEST, "itl", "frame") else {}
    return Figure(
        name=name,
        unit=unit,
        definition=definition,
        median=median(values),
        mad=mad(values) if len(values) > 1 else None,
        interval=median_interval(values),
        samples=len(values),
        percentiles={key: found.value for key, found in tails.items()},
        reasons={key: found.reason for key, found in tails.items() if found.reason},
    )
