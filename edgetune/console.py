"""What people see: notes and progress on stderr, data on stdout.

``NO_COLOR`` and non-terminals are honoured by rich. Nothing here is imported by the
device side beyond rich itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

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
    print(printable(message), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Bytes of a path that are not UTF-8 as escapes, also of JSON: not every output takes them as they are."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def data(text: str) -> None:
    """Write a command's result on stdout."""
    print(printable(text), flush=True)


class Bar:
    """Progress of one job: a bar with time left on a terminal, sparse lines elsewhere.

    It stays silent for the first two seconds. A bar inside another takes the line below it.
    """

    def __init__(self, description: str, total: float | None, unit: str, outer: Bar | None = None) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = 0.0
        self._outer = outer
        self._start = time.monotonic()
        self._last_line = self._start
        self._console: Console | None = None
        self._place: tuple[Progress, TaskID] | None = None

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
        self._console = self._console or stderr()
        if self._console.is_terminal:
            self._draw(self._console)
        elif now - self._last_line >= LOG_EVERY_SECONDS:
            self._last_line = now
            note(self._line(now))

    def _line(self, now: float) -> str:
        if not self.total:
            return f"{self.description}: {self.done:.0f} {self.unit}"
        share = self.done / self.total
        line = f"{self.description}: {self.done:.0f}/{self.total:.0f} {self.unit} ({share:.0%})"
        if share <= 0:  # nothing to judge by yet
            return line
        return f"{line}, {(now - self._start) * max(1 - share, 0.0) / share:.0f} s left"

    def _draw(self, console: Console) -> Progress:
        """Bring the bar on the screen up to date; those around it are drawn first."""
        count = f"{self.done:.0f}/{self.total:.0f}" if self.total else f"{self.done:.0f}"
        if self._place is None:
            screen = self._outer._draw(console) if self._outer else _new_screen(console)  # noqa: SLF001  # a bar's
            self._place = screen, screen.add_task(self.description, total=self.total, count=count)
        screen, task = self._place
        screen.update(task, completed=self.done, description=self.description, total=self.total, count=count)
        return screen

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._place is None:
            return
        screen, task = self._place
        if self._outer:
            screen.remove_task(task)
        else:
            screen.stop()


def _new_screen(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    screen = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=2,  # drawing takes a processor away from what is being shown
    )
    screen.start()
    return screen


#: The bar in whose body we are.
_current: ContextVar[Bar | None] = ContextVar("_current", default=None)


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show progress of the body on stderr.

    >>> with progress("Reading", total=2) as bar:
    ...     bar.advance()
    """
    bar = Bar(description, total, unit, _current.get())
    token = _current.set(bar)
    try:
        yield bar
    finally:
        _current.reset(token)
        bar.close()


def size_text(size: int) -> str:
    """A size for people.

    >>> size_text(0), size_text(900), size_text(64_000), size_text(270_300_000)
    ('0 bytes', '900 bytes', '64 kB', '270 MB')
    """
    for unit, name in ((1_000_000, "MB"), (1000, "kB")):
        if size >= unit:
            return f"{size / unit:.0f} {name}"
    return f"{size} bytes"
