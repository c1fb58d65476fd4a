"""How much of the machine others used while a process was timed: a figure taken in company is worth little."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

_STAT = Path("/proc/stat")
#: Columns of the ``cpu`` line that are not work: idle, iowait, guest and guest_nice (already in user and nice).
_NOT_WORK = {3, 4, 8, 9}


def _busy_seconds(stat: Path = _STAT) -> float | None:
    """Seconds that all CPUs worked since the machine started."""
    try:
        first = stat.read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    ticks = sum(int(value) for column, value in enumerate(first.split()[1:]) if column not in _NOT_WORK)
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """CPU time of this process and of those that it started and waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@dataclass
class Company:
    """CPU time of everybody else since this was made, steal by other virtual machines included."""

    _busy: float | None = field(default_factory=_busy_seconds)
    _own: float = field(default_factory=_own_seconds)
    _start: float = field(default_factory=time.monotonic)

    def share(self) -> float | None:
        """Share of all CPUs that others used; None where the kernel does not say.

        Call it after the timed process was waited for: only then is its time known as its own.
        """
        now = _busy_seconds()
        if self._busy is None or now is None:
            return None
        available = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        return max(0.0, (now - self._busy - (_own_seconds() - self._own)) / available)
