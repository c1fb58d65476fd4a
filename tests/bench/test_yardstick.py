"""The copy of memory that says how fast the machine itself was."""

from __future__ import annotations

import pytest

from edgetune.bench import yardstick
from edgetune.bench.yardstick import BYTES, Yardstick


@pytest.mark.parametrize("threads", [1, 3])
def test_each_time_is_a_speed_of_reading_and_writing(threads, monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 1.2, 2.0, 2.4])
    monkeypatch.setattr(yardstick.time, "perf_counter", lambda: next(clock))
    laid = Yardstick(threads)
    laid.lay()
    assert laid.speeds == [pytest.approx(2 * BYTES * 4 / 0.2 / 1e9)], "the middle of three"


def test_copies_take_time():
    laid = Yardstick(2)
    laid.lay()
    laid.lay()
    assert len(laid.speeds) == 2
    assert all(0.01 < speed < 10_000 for speed in laid.speeds)


def test_where_memory_is_short_nothing_is_copied(monkeypatch):
    laid = Yardstick(1)
    monkeypatch.setattr(yardstick, "available_memory", lambda: 8 * BYTES - 1)
    laid.lay()
    assert laid.speeds == []
    monkeypatch.setattr(yardstick, "available_memory", lambda: None)
    laid.lay()
    assert len(laid.speeds) == 1, "where nobody says how much is free, it is tried"
