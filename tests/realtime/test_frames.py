import pytest

from edgetune.realtime.clock import FakeClock
from edgetune.realtime.frames import frame_loop, measured_of_frames


def run(seconds, count=8, rate=10.0):
    """Frames worked on in so many seconds each."""
    clock = FakeClock()
    seen = []

    def work(index):
        seen.append(index)
        clock.pass_by(seconds(index))

    return seen, frame_loop(work, rate, count, clock)


def test_quick_work_sees_every_frame():
    seen, loop = run(lambda _: 0.05)
    assert seen == list(range(8))
    found = measured_of_frames(loop)
    assert list(found["frame"].values) == pytest.approx([50.0] * 8)
    assert sum(found["deadline_miss"].values) == 0
    assert found["frames_done"].values[0] == pytest.approx(8 / 0.75)


def test_slow_work_gets_the_newest_and_the_others_are_dropped():
    seen, loop = run(lambda _: 0.25)
    assert seen == [0, 2, 5, 7]
    assert [one.finished_s is None for one in loop.frames] == [False, True, False, True, True, False, True, False]
    assert [one.scheduled_s for one in loop.frames] == pytest.approx([index / 10 for index in range(8)])
    found = measured_of_frames(loop)
    assert list(found["frame"].values) == pytest.approx([250, 300, 250, 300])
    assert sum(found["deadline_miss"].values) == 8, "four dropped, four late"


def test_one_stall_costs_the_frames_behind_it_and_no_more():
    seen, loop = run(lambda index: 0.32 if index == 1 else 0.01)
    assert seen == [0, 1, 4, 5, 6, 7]
    assert sum(measured_of_frames(loop)["deadline_miss"].values) == 3  # the stalled one and two dropped


def test_a_source_goes_on_until_enough_frames_are_done():
    clock = FakeClock()
    loop = frame_loop(lambda _: clock.pass_by(0.25), 10.0, 8, clock, done=10, most=100)
    assert sum(one.finished_s is not None for one in loop.frames) == 10
    loop = frame_loop(lambda _: clock.pass_by(0.25), 10.0, 8, clock, done=10, most=12)
    assert 12 <= len(loop.frames) <= 14, "but not beyond the time there is"


def test_choosing_a_frame_takes_no_longer_of_many():
    """The choice lies between a frame's schedule and its end: asking the clock of each frame to come would be in it."""

    class Dear(FakeClock):
        def now(self):
            self.pass_by(0.001)
            return super().now()

    clock = Dear()
    loop = frame_loop(lambda _: clock.pass_by(0.01), 10.0, 500, clock)
    assert max(measured_of_frames(loop)["frame"].values) < 20
