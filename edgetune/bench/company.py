"""How much of the machine others took while something was measured: a figure taken in company is worth little."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_STAT = Path("/proc/stat")
#: Columns of the ``cpu`` line that are not work: idle, iowait, guest and guest_nice (already in user and nice).
_NOT_WORK = {3, 4, 8, 9}
_STEAL = 7
#: Shares of the CPUs' time from which figures are doubtful.
MUCH_COMPANY, MUCH_STEAL = 0.10, 0.02


@dataclass(frozen=True)
class _Ticks:
    """Seconds of all CPUs since the machine started."""

    busy: float
    steal: float


def _ticks(stat: Path = _STAT) -> _Ticks | None:
    try:
        columns = [int(value) for value in stat.read_text(encoding="ascii").splitlines()[0].split()[1:]]
        second = os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):  # no such file, or another system's
        return None
    busy = sum(value for column, value in enumerate(columns) if column not in _NOT_WORK)
    return _Ticks(busy / second, (columns[_STEAL] if len(columns) > _STEAL else 0) / second)


def _own_seconds() -> float:
    """CPU time of this process and of those that it started and waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@dataclass
class Company:
    """CPU time of everybody else since this was made.

    Ask it after the timed processes were waited for: only then is their time known as our own.
    """

    _before: _Ticks | None = field(default_factory=_ticks)
    _own: float = field(default_factory=_own_seconds)
    _start: float = field(default_factory=time.monotonic)

    def share(self) -> float | None:
        """Share of all CPUs that others used, steal included; None where the kernel does not say."""
        now = _ticks()
        if self._before is None or now is None:
            return None
        others = now.busy - self._before.busy - (_own_seconds() - self._own)
        return max(0.0, others / self._available())

    def steal(self) -> float | None:
        """Share of all CPUs that a virtual machine's host gave to others; None where the kernel does not say."""
        now = _ticks()
        return (
            None
            if self._before is None or now is None
            else max(0.0, (now.steal - self._before.steal) / self._available())
        )

    def _available(self) -> float:
        return max(1e-9, (time.monotonic() - self._start) * (os.cpu_count() or 1))


def doubts(others: float | None, steal: float | None) -> Iterator[str]:
    """What makes figures doubtful that were taken in such company; shares that are not known make none."""
    if others is not None and others >= MUCH_COMPANY:
        yield f"others used {others:.0%} of the CPUs meanwhile ({MUCH_COMPANY:.0%} or more)"
    if steal is not None and steal >= MUCH_STEAL:
        yield f"the host took {steal:.0%} of the CPUs' time for others meanwhile ({MUCH_STEAL:.0%} or more)"
