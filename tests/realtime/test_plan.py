"""Which loops are run, and the search for the highest rate, on a fake clock."""

import math

import pytest
from clockwork import request, server_of

from edgetune.bench.objective import Objective
from edgetune.realtime.arrivals import poisson
from edgetune.realtime.clock import FakeClock
from edgetune.realtime.plan import Plan, carry_out, doomed, meets
from edgetune.realtime.search import RESOLUTION, highest_rate
from edgetune.realtime.simulation import predicted_rate

LATE_ENOUGH = Objective(metric="ttft", statistic="p95", at_most=2000, unit="ms")
QUICK = Objective(metric="ttft", statistic="p95", at_most=500, unit="ms")


def carried_out(service=0.1, objectives=(QUICK,), seconds=1000.0, rate=None, requests=59):
    clock, told = FakeClock(), []
    plan = Plan(objectives=objectives, requests=requests, seconds=seconds, rate=rate)
    serve = server_of(service if callable(service) else lambda _: service, clock)
    return *carry_out(plan, serve, clock, told.append), clock.now(), told


def test_the_search_brackets_the_highest_rate():
    loops, search, _, told = carried_out()
    assert search.highest_met is not None
    assert search.lowest_missed is None or search.highest_met < search.lowest_missed
    assert search.highest_met <= 0.95 * 10 * 1.000001
    by_rate = {loop.rate: loop for loop in loops[1:]}
    assert meets(by_rate[search.highest_met], [QUICK]) is True
    assert len(told) == len(loops)


def test_the_answer_is_the_one_that_measuring_everywhere_gives():
    strict = Objective(metric="wait", statistic="p95", at_most=120, unit="ms")
    _, search, *_ = carried_out(objectives=[strict])
    assert search.lowest_missed <= search.highest_met * (1 + RESOLUTION) * 1.000001
    assert search.ended == "within 10%"
    for rate, met in ((search.highest_met, True), (search.lowest_missed, False)):
        loops, *_ = carried_out(objectives=[strict], rate=rate)
        assert (meets(loops[1], [strict]) is True) == met


def test_no_rate_is_looked_for_where_one_at_a_time_is_too_slow():
    loops, search, *_ = carried_out(service=0.6)
    assert len(loops) == 1
    assert (search.highest_met, search.ended) == (None, "the objectives are missed by one request after another")


def test_too_few_samples_are_said():
    _, search, *_ = carried_out(requests=20)
    assert search.ended == "the objectives are not judged by one request after another"


def test_a_rate_that_is_asked_for_is_the_only_one():
    loops, search, *_ = carried_out(rate=2.0)
    assert search is None
    assert [loop.rate for loop in loops] == [None, 2.0]


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0])
def test_the_time_is_kept(seconds):
    loops, search, took, _ = carried_out(seconds=seconds, service=0.1)
    assert took <= seconds + 0.2
    if len(loops[0].requests) < 59:
        assert loops[0].stopped.startswith("time was up")
    else:
        assert search.highest_met is not None or search.ended.startswith("no time left")


def test_what_is_judged_has_all_the_time_that_it_needs():
    """One request after another is judged where no rate is asked for: 59 of 1 s need more than half of 100 s."""
    loops, search, took, _ = carried_out(seconds=100.0, service=1.0, objectives=[LATE_ENOUGH])
    assert (len(loops[0].requests), loops[0].stopped) == (59, None)
    assert search.ended.startswith("no time left")
    assert took < 60
    loops, search, took, _ = carried_out(seconds=40.0, service=1.0, objectives=[LATE_ENOUGH])
    assert loops[0].stopped == "time was up after 40 requests"


def test_a_loop_at_a_rate_has_the_time_that_its_requests_need_to_come():
    loops, *_ = carried_out(seconds=100.0, service=0.5, rate=0.8)
    assert loops[1].stopped is None, "it had 1.2 times the seconds until its last request comes"
    last = poisson(0.8, 59, seed=0)[-1]
    assert len(loops[0].requests) == math.ceil((100 - 1.2 * last) / 0.5) > 5, "the seconds that were left"


def test_time_that_runs_out_in_an_open_loop_is_a_miss():
    loops, *_ = carried_out(seconds=20.0, rate=1.0)
    assert loops[1].stopped.startswith("time was up after")
    assert meets(loops[1], [QUICK]) is False


def test_a_loop_that_is_certain_to_miss_ends_early():
    stop = doomed([QUICK], 59)
    late = [request(0.6)] * 3  # p95 of 59 lies between the 56th and 57th: three late ones may all lie above it
    assert stop(late) is None
    assert "certain to be missed" in stop([*late, request(0.6)])
    worst = doomed([Objective(metric="ttft", statistic="max", at_most=500)], 59)
    assert worst([request(0.6)])
    assert doomed([Objective(metric="itl", statistic="p95", at_most=1)], 59)(late) is None


def test_a_doomed_loop_really_misses():
    """The shortcut agrees with the judgement on the whole loop, at its very border."""
    from clockwork import loop

    for late in (3, 4):
        requests = [request(0.6)] * late + [request(0.1)] * (59 - late)
        assert (doomed([QUICK], 59)(requests) is not None) <= (meets(loop(*requests), [QUICK]) is False)
    assert meets(loop(*[request(0.6)] * 2, *[request(0.1)] * 57), [QUICK]) is True


def test_search_steps():
    asked = []

    def measure(rate):
        asked.append(rate)
        return rate <= 3.3

    found = highest_rate(measure, predicted=2.0, ceiling=9.5, affordable=lambda _: True)
    assert found.highest_met <= 3.3 < found.lowest_missed <= found.highest_met * 1.1 * 1.000001
    assert len(asked) <= 9
    nothing = highest_rate(lambda _: False, predicted=2.0, ceiling=9.5, affordable=lambda _: True)
    assert nothing.highest_met is None
    assert highest_rate(lambda _: None, 2.0, 9.5, lambda _: True).ended.startswith("it could not be judged")
    capped = highest_rate(lambda _: True, 2.0, 9.5, lambda _: True)
    assert (capped.highest_met, capped.lowest_missed) == (9.5, None)
    assert highest_rate(measure, 2.0, 9.5, lambda _: False).ended.startswith("no time left")


def test_prediction_by_bisection():
    assert predicted_rate(lambda rate: rate < 2.7, 10.0) == pytest.approx(2.7, abs=0.01)
    assert predicted_rate(lambda _: True, 10.0) == 10.0
    assert predicted_rate(lambda _: False, 10.0) == 0.0
