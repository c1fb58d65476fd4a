"""The runtime's own loop as a benchmark drives it."""

from types import SimpleNamespace

import pytest

from edgetune.assistant import Assistant
from edgetune.bench import looping
from edgetune.errors import EdgetuneError
from edgetune.realtime.clock import FakeClock
from edgetune.runtimes.fake import FakeRuntime

JOB = {"prompts": [[{"role": "user", "content": "hello"}]], "depth_prefill": 8, "depth_decode": 4}


class Loop:
    """Computes nothing, each token in so many seconds of a fake clock."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def hold(self, length):
        return True

    def extend(self, tokens):
        pass

    def step(self, token):
        self.clock.pass_by(self.seconds)


class Looping(FakeRuntime):
    def __init__(self, loop, **settings):
        super().__init__({}, **settings)
        self.loop = loop

    def raw_loop(self, capacity):
        assert capacity < self.context_length
        self.capacity = capacity
        return self.loop


@pytest.mark.parametrize(
    ("each", "counts"), [(0.25, [4, 4, 4]), (0.75, [1, 1, 2]), (2.5, [0, 0, 1]), (10.0, [0, 0, 0])]
)
def test_every_second_has_the_tokens_that_ended_in_it(monkeypatch, each, counts):
    """A device that needs 2.5 s for a token does not decode one a second."""
    clock = FakeClock()
    monkeypatch.setattr(looping, "time", SimpleNamespace(monotonic=clock.now))
    with Assistant(Looping(Loop(clock, each))) as assistant:
        assert list(looping.steady(assistant, JOB, 3)) == counts


def test_a_runtime_without_a_loop_of_its_own_is_refused():
    with Assistant(FakeRuntime({})) as assistant:
        for run in (lambda: looping.at_depths(assistant, JOB, (0,)), lambda: looping.steady(assistant, JOB, 1)):
            with pytest.raises(EdgetuneError, match="fake has no loop of its own"):
                list(run())


def test_depths_that_do_not_fit_are_left_out_and_one_token_has_room():
    clock = FakeClock()
    runtime = Looping(Loop(clock, 0.1), context_length=25)
    with Assistant(runtime) as assistant:
        found = list(looping.at_depths(assistant, JOB, (0, 16, 17)))
    assert [one["depth"] for one in found] == [0, 16]
    assert runtime.capacity == 24
