"""What people see: notes and progress on stderr, data on stdout.

``NO_COLOR`` and non-terminals are honoured by rich. Nothing here is imported by the
device side beyond rich itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: A bar appears only for work that lasts longer than this, so quick commands stay quiet.
SHOW_AFTER_SECONDS = 2.0
#: Without a terminal a line is written this often instead of a bar.
LOG_EVERY_SECONDS = 30.0


def stderr() -> Console:
    """A rich console on the *current* ``sys.stderr`` (tests replace it)."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Tell the person something on stderr."""
    print(message, file=sys.stderr, flush=True)


def data(text: str) -> None:
    """Write a command's result on stdout."""
    print(text, flush=True)


class Bar:
    """Progress of one job: a bar with time left on a terminal, sparse lines elsewhere.

    It stays silent for the first two seconds.
    """

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = 0.0
        self._start = time.monotonic()
        self._last_line = self._start
        self._console = stderr()
        self._rich: object | None = None

    def advance(self, amount: float = 1.0, description: str | None = None) -> None:
        """Record that ``amount`` more units are done."""
        self.update(self.done + amount, description)

    def update(self, done: float, description: str | None = None, total: float | None = None) -> None:
        """Set how many units are done (and, where the estimate moved, how many there are)."""
        self.done = done
        self.description = description or self.description
        self.total = total if total is not None else self.total
        now = time.monotonic()
        if now - self._start < SHOW_AFTER_SECONDS:
            return
        if self._console.is_terminal:
            self._draw()
        elif now - self._last_line >= LOG_EVERY_SECONDS:
            self._last_line = now
            note(self._line(now))

    def _line(self, now: float) -> str:
        if not self.total:
            return f"{self.description}: {self.done:.0f} {self.unit}"
        share = self.done / self.total
        left = (now - self._start) * (1 - share) / share if share > 0 else float("nan")
        return f"{self.description}: {self.done:.0f}/{self.total:.0f} {self.unit} ({share:.0%}), {left:.0f} s left"

    def _draw(self) -> None:
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        if self._rich is None:
            progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}" if self.total else "{task.completed:.0f}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            progress.add_task(self.description, total=self.total)
            progress.start()
            self._rich = progress
        assert isinstance(self._rich, Progress)
        self._rich.update(TaskID(0), completed=self.done, description=self.description, total=self.total)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._rich is not None:
            from rich.progress import Progress

            assert isinstance(self._rich, Progress)
            self._rich.stop()


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show progress of the body on stderr.

    >>> with progress("Reading", total=2) as bar:
    ...     bar.advance()
    """
    bar = Bar(description, total, unit)
    try:
        yield bar
    finally:
        bar.close()
