"""The clock of a loop, so that tests can bring their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds from an arbitrary start, and waiting."""

    def now(self) -> float: ...

    def wait_until(self, moment: float) -> None:
        """Return at ``moment``, or at once where it has passed."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

    def wait_until(self, moment: float) -> None:
        """Sleep; what the kernel oversleeps counts as waiting of the request, as it does for an application."""
        if (left := moment - time.monotonic()) > 0:
            time.sleep(left)


class FakeClock:
    """Time that passes only when told to: for tests.

    >>> clock = FakeClock()
    >>> clock.pass_by(2.0)
    >>> clock.wait_until(1.0)
    >>> clock.now()
    2.0
    """

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds that were passed so far."""
        return self._now

    def wait_until(self, moment: float) -> None:
        """Jump there."""
        self._now = max(self._now, moment)

    def pass_by(self, seconds: float) -> None:
        """Let time pass, as work does."""
        self._now += seconds
