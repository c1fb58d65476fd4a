"""A source with a fixed rate, such as a camera, over any callable that works on one frame.

Of what classifies a frame is one input: an image, or, where texts come at a fixed rate, a text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from edgetune.bench.definitions import Definition
from edgetune.bench.figuring import figure
from edgetune.bench.realtime_section import Frame, FrameLoop
from edgetune.bench.schema import Figure
from edgetune.bench.statistics import mad
from edgetune.realtime.arrivals import steady
from edgetune.realtime.clock import Clock
from edgetune.targets.judging import Measured

_definition = partial(Definition, compared=False)
#: In the order in which they are printed. All samples are of one process, so that runs are not compared by them.
DEFINITIONS: dict[str, Definition] = {
    "frame": _definition("ms", "frame done - frame scheduled, of frames that were not dropped", tail=True),
    "deadline_miss": _definition("share", "share of frames dropped, or not done when the next one comes"),
    "frames_dropped": _definition(
        "share", "share of frames that a newer one overtook while they waited: one waits at most"
    ),
    "jitter": _definition(
        "ms", "median absolute deviation of the gaps between frames done from their median, dropped ones left out"
    ),
    "frames_done": _definition(
        "frames/s", "frames done / time from the first one's schedule to the last one done", "higher"
    ),
}


def frame_loop(  # noqa: PLR0913  # a loop is that many things
    work: Callable[[int], object], rate: float, count: int, clock: Clock, *, done: int = 0, most: int = 0
) -> FrameLoop:
    """Work on frames as they come; of those that come meanwhile only the newest waits, the others are dropped.

    A real-time loop wants the newest picture: working through a queue of old ones would make every later one late.

    Args:
        work: called with the number of each frame that is not dropped.
        rate: frames a second.
        count: frames of the source.
        clock: to wait by and to measure with.
        done: the source goes on until so many are done and not dropped,
        most: but not beyond so many frames.
    """
    began = clock.now()
    moments = steady(rate, max(count, most))
    due = [began + moment for moment in moments]
    frames: list[Frame] = []
    while len(frames) < count or (done > 0 and len(frames) < most):
        clock.wait_until(due[len(frames)])
        # The one waited for is there; a search, as what is done here counts as waiting of the frame.
        newest = bisect_right(due, clock.now(), lo=len(frames) + 1) - 1
        frames += [Frame(scheduled_s=moments[index], started_s=None, finished_s=None)
                   for index in range(len(frames), newest)]  # fmt: skip
        started = clock.now() - began
        work(newest)
        done -= 1
        frames.append(Frame(scheduled_s=moments[newest], started_s=started, finished_s=clock.now() - began))
    return FrameLoop(rate=rate, frames=tuple(frames))


def measured_of_frames(loop: FrameLoop) -> dict[str, Measured]:
    """Every metric of :data:`DEFINITIONS`, for :func:`edgetune.targets.judging.judge`."""
    done = [one for one in loop.frames if one.finished_s is not None]
    ends = [one.finished_s for one in done if one.finished_s is not None]
    times = [1e3 * (end - one.scheduled_s) for one, end in zip(done, ends, strict=True)]
    dropped = len(loop.frames) - len(done)
    late = sum(time > 1e3 / loop.rate for time in times) + dropped
    gaps = [1e3 * (after - before) for before, after in pairwise(ends)]
    values = {
        "frame": times,
        "deadline_miss": _shares(late, len(loop.frames)),
        "frames_dropped": _shares(dropped, len(loop.frames)),
        "jitter": [mad(gaps)] if gaps else [],
        "frames_done": [len(done) / max(ends)] if ends else [],
    }
    how = f"frames at {loop.rate:g} a second"
    return {
        name: Measured(
            DEFINITIONS[name].unit,
            how,
            values=tuple(found),
            samples=len(found),
            reasons={} if found else {"median": "no frame was done"},
        )
        for name, found in values.items()
    }


def frame_figures(loop: FrameLoop) -> list[Figure]:
    """Every metric as a report keeps it."""
    return [_figure(name, measured) for name, measured in measured_of_frames(loop).items()]


def _figure(name: str, measured: Measured) -> Figure:
    values = measured.values
    if DEFINITIONS[name].unit == "share" and values:  # of yes and no the share says more than the middle one
        values = [sum(values) / len(values)]
    return figure(name, DEFINITIONS[name], [(0, value) for value in values], measured.reasons.get("median"))


def _shares(yes: int, whole: int) -> list[float]:
    return [1.0] * yes + [0.0] * (whole - yes)
