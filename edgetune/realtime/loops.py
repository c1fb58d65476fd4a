"""Closed and open loops over anything that serves one request at a time.

Latency counts from the scheduled time. A generator that instead waits for a slow answer before it sends, and counts
from when it sent, leaves out exactly the requests that had to wait (Tene's *coordinated omission*).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetune.bench.realtime_section import RealtimeLoop, RealtimeRequest
from edgetune.realtime.arrivals import poisson
from edgetune.realtime.clock import Clock

#: Serves request number N, scheduled at a moment of the clock, in a loop that began at another.
Serve = Callable[[int, float, float], RealtimeRequest]
#: Looks at the requests so far and says why to stop, if so.
Stop = Callable[[Sequence[RealtimeRequest]], str | None]


def time_is_up(requests: Sequence[RealtimeRequest]) -> str:
    """Why a loop ends that has no more time."""
    return f"time was up after {len(requests)} requests"


def never(_requests: Sequence[RealtimeRequest]) -> str | None:
    """Go on to the end."""
    return None


def closed_loop(serve: Serve, count: int, clock: Clock, stop: Stop = never) -> RealtimeLoop:
    """One request after another: the next is scheduled when the last answer has ended."""
    began = clock.now()
    requests: list[RealtimeRequest] = []
    reason = None
    while len(requests) < count and reason is None:
        requests.append(serve(len(requests), clock.now(), began))
        reason = stop(requests)
    return RealtimeLoop(
        scenario="closed loop", planned=count, stopped=_early(reason, requests, count), requests=tuple(requests)
    )


@dataclass(frozen=True)
class Arrivals:
    """Requests that nobody coordinates: how many a second on average, how many, and the seed of their times."""

    rate: float
    count: int
    seed: int = 0


def open_loop(
    serve: Serve, arrivals: Arrivals, clock: Clock, stop: Stop = never, *, end: float = math.inf
) -> RealtimeLoop:
    """Requests at seeded Poisson times, whether or not the last one is answered; those that find it busy queue.

    One that would come after ``end``, a moment of the clock, is not waited for.
    """
    began = clock.now()
    requests: list[RealtimeRequest] = []
    reason = None
    for index, moment in enumerate(poisson(arrivals.rate, arrivals.count, arrivals.seed)):
        if began + moment > end:
            reason = time_is_up(requests)
            break
        clock.wait_until(began + moment)
        requests.append(serve(index, began + moment, began))
        if reason := stop(requests):
            break
    return RealtimeLoop(
        scenario="open loop",
        rate=arrivals.rate,
        seed=arrivals.seed,
        planned=arrivals.count,
        stopped=_early(reason, requests, arrivals.count),
        requests=tuple(requests),
    )


def _early(reason: str | None, requests: Sequence[RealtimeRequest], count: int) -> str | None:
    return reason if len(requests) < count else None
