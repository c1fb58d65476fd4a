"""What an open loop would do, from service times that were measured: where a search begins, never a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgetune.bench.realtime_section import RealtimeLoop, RealtimeRequest
from edgetune.realtime.arrivals import poisson

#: Steps of the bisection in simulation; each halves the interval.
STEPS = 12


def waits(services: Sequence[float], arrivals: Sequence[float]) -> list[float]:
    """Seconds that each request queues before one server, first come first served (Lindley, 1952).

    >>> waits([2.0, 2.0, 2.0], [0.0, 1.0, 10.0])
    [0.0, 1.0, 0.0]
    """
    found, free = [], 0.0
    for service, arrival in zip(services, arrivals, strict=True):
        start = max(free, arrival)
        found.append(start - arrival)
        free = start + service
    return found


def simulated(closed: RealtimeLoop, rate: float, count: int, seed: int) -> RealtimeLoop:
    """The requests of a closed loop, as if they had come at random."""
    arrivals = poisson(rate, count, seed)
    requests = [closed.requests[index % len(closed.requests)] for index in range(count)]
    queued = waits([one.finished_s - one.started_s for one in requests], arrivals)
    late = [_later(*parts) for parts in zip(requests, arrivals, queued, strict=True)]
    return RealtimeLoop(scenario="open loop", rate=rate, seed=seed, planned=count, requests=tuple(late))


def predicted_rate(meets: Callable[[float], bool], ceiling: float) -> float:
    """The highest rate below ``ceiling`` at which a simulation meets its objectives, by bisection; 0 if none."""
    if meets(ceiling):
        return ceiling
    low, high = 0.0, ceiling
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def _later(request: RealtimeRequest, arrival: float, wait: float) -> RealtimeRequest:
    shift = wait - request.started_s
    return request.model_copy(
        update={
            "scheduled_s": arrival,
            "started_s": wait,
            "tokenised_s": request.tokenised_s + shift,
            "token_s": tuple(second + shift for second in request.token_s),
            "clause_s": None if request.clause_s is None else request.clause_s + shift,
            "finished_s": request.finished_s + shift,
        }
    )
