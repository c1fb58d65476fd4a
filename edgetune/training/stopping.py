"""Ctrl-C and SIGTERM: the first ends the step under way, a second one the process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgetune import console

#: A second signal within this time is the first one over again: a terminal signals the whole process
#: group, and a launcher then passes the same Ctrl-C on to each of its processes.
SAME_SIGNAL_SECONDS = 1.0


@dataclass
class Stop:
    """A wish to stop after the step under way.

    Attributes:
        signal: name of the signal that asked, or None.
        anywhere: whether any process of a distributed run was asked.
    """

    signal: str | None = None
    anywhere: bool = False
    _asked_at: float = 0.0

    def ask(self, number: int, _frame: Any = None) -> None:
        """Handle one signal.

        Raises:
            KeyboardInterrupt: it is a second one.
        """
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._asked_at = signal.Signals(number).name, now
            console.note("stopping: finishing this step and saving; press Ctrl-C again to stop at once")
        elif now - self._asked_at > SAME_SIGNAL_SECONDS:
            raise KeyboardInterrupt

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM. Outside the main thread, where Python delivers none, this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
