"""A source with a fixed rate, such as a camera, over any callable that works on one frame."""

from __future__ import annotations

from collections.abc import Callable

from edgetune.bench.realtime_section import Frame, FrameLoop
from edgetune.realtime.arrivals import steady
from edgetune.realtime.clock import Clock


def frame_loop(work: Callable[[int], object], rate: float, count: int, clock: Clock) -> FrameLoop:
    """Work on frames as they come; of those that come meanwhile only the newest waits, the others are dropped.

    A real-time loop wants the newest picture: working through a queue of old ones would make every later one late.

    Args:
        work: called with the number of each frame that is not dropped.
        rate: frames a second.
        count: frames of the source.
        clock: to wait by and to measure with.
    """
    began = clock.now()
    moments = steady(rate, count)
    frames: list[Frame] = []
    while len(frames) < count:
        clock.wait_until(began + moments[len(frames)])
        newest = max(index for index in range(len(frames), count) if began + moments[index] <= clock.now())
        frames += [Frame(scheduled_s=moments[index], started_s=None, finished_s=None)
                   for index in range(len(frames), newest)]  # fmt: skip
        started = clock.now() - began
        work(newest)
        frames.append(Frame(scheduled_s=moments[newest], started_s=started, finished_s=clock.now() - began))
    return FrameLoop(rate=rate, frames=tuple(frames))
