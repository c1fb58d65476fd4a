"""Bars: quiet at first, one line in a log now and then, one below the other on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgetune import console


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])

    def after(seconds):
        now[0] += seconds

    return after


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal of 100 columns is sent."""
    screen = io.StringIO()
    made = []

    def stderr():
        made.append(Console(file=screen, force_terminal=True, width=100, color_system=None))
        return made[-1]

    monkeypatch.setattr(console, "stderr", stderr)
    screen.made = made
    return screen


def test_short_work_is_quiet_and_makes_no_console(terminal, clock, capsys):
    with console.progress("Work", total=2, unit="rows") as bar:
        clock(1.0)
        bar.advance()
    assert terminal.made == []
    assert capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    with console.progress("Work", total=100, unit="rows") as bar:
        for _ in range(4):
            clock(20.0)
            bar.advance(10)
    assert capsys.readouterr().err == "Work: 20/100 rows (20%), 160 s left\nWork: 40/100 rows (40%), 120 s left\n"


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        (0, 10, "Work: 0/10 steps (0%)\n"),
        (0, None, "Work: 0 steps\n"),
        (5, None, "Work: 5 steps\n"),
        (11, 10, "Work: 11/10 steps (110%), 0 s left\n"),
    ],
)
def test_no_time_left_is_made_up(clock, capsys, done, total, line):
    with console.progress("Work", total=total, unit="steps") as bar:
        clock(60.0)
        bar.update(done)
    assert capsys.readouterr().err == line


def test_a_bar_inside_another_shares_its_screen(terminal, clock):
    with console.progress("Training", total=10, unit="steps") as outer:
        clock(3.0)
        with console.progress("Evaluating", total=4, unit="batches") as inner:
            clock(3.0)
            inner.advance()
            screen, _ = inner._place
            assert [task.description for task in screen.tasks] == ["Training", "Evaluating"]
            assert [task.fields["count"] for task in screen.tasks] == ["0/10", "1/4"]
        assert [task.description for task in screen.tasks] == ["Training"]
        outer.advance(2)
        assert outer._place[0] is screen
        assert screen.live.is_started
    assert not screen.live.is_started
    assert len(terminal.made) <= 2
    assert "2/10" in terminal.getvalue()


def test_a_bar_after_another_stands_alone(terminal, clock):
    for name in ("First", "Second"):
        with console.progress(name, total=10) as bar:
            clock(3.0)
            bar.advance()
            screen, _ = bar._place
            assert [task.description for task in screen.tasks] == [name]
