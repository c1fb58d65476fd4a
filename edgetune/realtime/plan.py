"""Which loops are run, in which order, within which time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import RateSearch, RealtimeLoop, RealtimeRequest
from edgetune.realtime.arrivals import poisson
from edgetune.realtime.clock import Clock
from edgetune.realtime.figures import OF_REQUEST, measured_of, of_request, seconds_of
from edgetune.realtime.loops import Arrivals, Serve, Stop, closed_loop, open_loop, time_is_up
from edgetune.realtime.search import UTILISATION, highest_rate
from edgetune.realtime.simulation import predicted_rate, simulated
from edgetune.targets.judging import judge

#: Objectives that a rate of requests is searched by: those on what each request or token felt.
OF_SEARCH = (*OF_REQUEST, "itl", "jitter", "deadline_miss")
#: Of the time, the first loop may take so much where another one is judged.
FIRST_SHARE = 0.5
#: A loop at a rate takes a little longer than its requests need to come: answers, and requests that queue.
LONGER = 1.2


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        objectives: what loops are held to.
        requests: of each loop.
        seconds: for everything; a loop that would not end in time is not begun. The loop that is judged may take all of
            them: one request after another where no rate is asked for, else the one at that rate.
        rate: requests a second of the open loop; None: search for the highest.
        seed: of the arrivals.
    """

    objectives: Sequence[Objective]
    requests: int
    seconds: float
    rate: float | None = None
    seed: int = 0


def carry_out(
    plan: Plan, serve: Serve, clock: Clock, on_loop: Callable[[str], object]
) -> tuple[list[RealtimeLoop], RateSearch | None]:
    """One request at a time, then either the rate that is asked for, or a search for the highest.

    Args:
        plan: what to do.
        serve: answers one request.
        clock: to wait by.
        on_loop: told in words which loop begins.
    """
    end = clock.now() + plan.seconds
    on_loop(f"one request after another, {plan.requests}")
    closed = closed_loop(serve, plan.requests, clock, _out_of_time(clock, clock.now() + first_seconds(plan)))
    if plan.rate is not None:
        on_loop(f"{plan.rate:.3g} requests/s, {plan.requests}")
        arrivals = Arrivals(plan.rate, plan.requests, plan.seed)
        return [closed, open_loop(serve, arrivals, clock, _out_of_time(clock, end), end=end)], None
    trials, search = _search(plan, closed, serve, clock, end=end, on_loop=on_loop)
    return [closed, *trials], search


def first_seconds(plan: Plan) -> float:
    """Seconds of one request after another: all, as it is what is judged; before a loop at a rate what that one leaves.

    >>> first_seconds(Plan(objectives=(), requests=59, seconds=180))
    180
    >>> first_seconds(Plan(objectives=(), requests=60, seconds=180, rate=2.0))
    90.0
    >>> first_seconds(Plan(objectives=(), requests=60, seconds=60, rate=1.0))
    0.0
    """
    if plan.rate is None:
        return plan.seconds
    left = plan.seconds - seconds_to_come(plan.rate, plan.requests, plan.seed)
    return max(0.0, min(plan.seconds * FIRST_SHARE, left))


def seconds_to_come(rate: float, requests: int, seed: int) -> float:
    """What a loop at a rate gets whatever came before it: until its last request comes, and some to answer."""
    return LONGER * poisson(rate, requests, seed)[-1]


def _search(  # noqa: PLR0913  # what carry_out has
    plan: Plan,
    closed: RealtimeLoop,
    serve: Serve,
    clock: Clock,
    *,
    end: float,
    on_loop: Callable[[str], object],
) -> tuple[list[RealtimeLoop], RateSearch]:
    """Loops at the rates that the search asked for, and what it found."""
    alone = meets(closed, plan.objectives)
    if not alone:
        why = "missed" if alone is False else "not judged"
        reason = f"the objectives are {why} by one request after another"
        return [], RateSearch(highest_met=None, lowest_missed=None, predicted=None, ended=reason)
    services = [request.finished_s - request.started_s for request in closed.requests]
    ceiling = UTILISATION * len(services) / sum(services)
    trials: list[RealtimeLoop] = []

    def measure(rate: float) -> bool | None:
        on_loop(f"{rate:.3g} requests/s, {plan.requests}")
        arrivals = Arrivals(rate, plan.requests, plan.seed)
        trials.append(open_loop(serve, arrivals, clock, doomed(plan.objectives, plan.requests)))
        return meets(trials[-1], plan.objectives)

    def in_simulation(rate: float) -> bool:
        return meets(simulated(closed, rate, plan.requests, plan.seed), plan.objectives) is True

    def affordable(rate: float) -> bool:
        needed = plan.requests * max(1 / rate, sum(services) / len(services))
        return clock.now() + needed <= end

    return trials, highest_rate(measure, predicted_rate(in_simulation, ceiling), ceiling, affordable)


def meets(loop: RealtimeLoop, objectives: Sequence[Objective]) -> bool | None:
    """Whether a loop meets every objective that concerns its requests; None where one cannot be judged."""
    if loop.scenario == "open loop" and loop.stopped is not None:
        return False
    concerned = [one for one in objectives if one.metric in OF_SEARCH]
    outcomes = {verdict.outcome for verdict in judge(concerned, measured_of(loop, objectives))}
    if "missed" in outcomes:
        return False
    return None if "not judged" in outcomes or not concerned else True


def doomed(objectives: Sequence[Objective], planned: int) -> Stop:
    """Stop a loop as soon as too many requests are late for an objective, whatever the others will do."""
    limits = [(one, limit) for one in objectives if one.metric in OF_REQUEST and (limit := seconds_of(one)) is not None]

    def stop(requests: Sequence[RealtimeRequest]) -> str | None:
        for objective, limit in limits:
            values = [of_request(request, objective.metric) for request in requests]
            late = sum(value is not None and value > limit for value in values)
            if late > _tolerated(objective, planned):
                return f"{late} requests are late already: {objective.text} is certain to be missed"
        return None

    return stop


def _tolerated(objective: Objective, planned: int) -> int:
    """Late requests of ``planned`` that leave the statistic's lower neighbour within the limit."""
    if objective.statistic == "max":
        return 0
    quantile = (objective.percent or 50.0) / 100
    return planned - 1 - int((planned - 1) * quantile)


def _out_of_time(clock: Clock, end: float) -> Stop:
    return lambda requests: time_is_up(requests) if clock.now() >= end else None
