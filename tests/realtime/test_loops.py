"""Loops on a fake clock: queueing as theory has it, and no request left out because it had to wait."""

import numpy as np
import pytest
from clockwork import server_of

from edgetune.realtime.arrivals import poisson
from edgetune.realtime.clock import FakeClock, SystemClock
from edgetune.realtime.loops import Arrivals, closed_loop, open_loop
from edgetune.realtime.simulation import simulated, waits


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_an_m_d_1_queue(load):
    """Pollaczek-Khinchine for fixed service times: load x service / (2 x (1 - load)), within four standard errors."""
    count, batch = 200_000, 5_000
    found = np.array(waits([1.0] * count, poisson(load, count, seed=1)))
    means = found.reshape(-1, batch).mean(axis=1)  # of batches much longer than the queue remembers
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert error < 0.05
    assert found.mean() == pytest.approx(load / (2 * (1 - load)), abs=4 * error)


def test_the_open_loop_queues_as_the_formula_does():
    clock = FakeClock()
    services = [0.2 + 0.1 * (index % 4) for index in range(400)]
    found = open_loop(server_of(services.__getitem__, clock), Arrivals(2.5, 400, seed=3), clock)
    assert [one.started_s for one in found.requests] == pytest.approx(waits(services, poisson(2.5, 400, seed=3)))
    assert [one.scheduled_s for one in found.requests] == pytest.approx(poisson(2.5, 400, seed=3))


def test_arrivals_have_the_rate_and_come_without_memory():
    gaps = np.diff(poisson(4.0, 100_001, seed=0))
    assert gaps.mean() == pytest.approx(0.25, rel=0.02)
    assert gaps.std() == pytest.approx(0.25, rel=0.02)  # exponential: as wide as it is long
    assert poisson(4.0, 5, seed=0) == poisson(4.0, 5, seed=0) != poisson(4.0, 5, seed=1)


def test_no_coordinated_omission():
    """One answer stalls for ten seconds while requests keep coming, ten a second: a hundred people wait."""

    def service(index):
        return 10.0 if index == 100 else 0.01

    clock = FakeClock()
    closed = closed_loop(server_of(service, clock), 400, clock)
    assert sum(one.finished_s > 1 for one in closed.requests) == 1, "a loop that waits for answers sees one slow one"
    clock = FakeClock()
    found = open_loop(server_of(service, clock), Arrivals(10.0, 400, seed=0), clock)
    late = sum(one.finished_s > 1 for one in found.requests)
    assert 70 <= late <= 130
    sent_after_the_answer = [one.finished_s - one.started_s for one in found.requests]
    assert sum(seconds > 1 for seconds in sent_after_the_answer) == 1, "from the start of work it would look well"


def test_a_request_that_comes_after_the_end_is_not_waited_for():
    clock = FakeClock()
    found = open_loop(server_of(lambda _: 0.1, clock), Arrivals(0.001, 30, seed=0), clock, end=60.0)
    assert clock.now() <= 60
    assert found.stopped == f"time was up after {len(found.requests)} requests"


def test_loops_stop_when_told_and_say_why():
    def stop(requests):
        return "enough" if len(requests) == 3 else None

    clock = FakeClock()
    found = closed_loop(server_of(lambda _: 1.0, clock), 10, clock, stop)
    assert (len(found.requests), found.planned, found.stopped) == (3, 10, "enough")
    assert open_loop(server_of(lambda _: 1.0, clock), Arrivals(1.0, 10), clock, stop).stopped == "enough"
    assert closed_loop(server_of(lambda _: 1.0, clock), 3, clock, stop).stopped is None, "it was complete"


def test_a_simulation_from_a_closed_loop_is_what_the_open_loop_does():
    clock = FakeClock()
    serve = server_of(lambda index: 0.1 + 0.05 * (index % 3), clock)
    predicted = simulated(closed_loop(serve, 60, clock), 6.0, 60, seed=5)
    measured = open_loop(serve, Arrivals(6.0, 60, seed=5), clock)
    for mine, theirs in zip(predicted.requests, measured.requests, strict=True):
        assert mine.token_s == pytest.approx(theirs.token_s)
        assert mine.finished_s == pytest.approx(theirs.finished_s)


def test_the_system_clock_waits():
    clock = SystemClock()
    moment = clock.now() + 0.02
    clock.wait_until(moment)
    assert clock.now() >= moment
    clock.wait_until(moment - 5)  # has passed: no error
