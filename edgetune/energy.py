"""Energy, where the machine lets it be read."""

from __future__ import annotations

from pathlib import Path

RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules since it was made, by Linux's RAPL counters of the CPU packages.

    Attributes:
        missing: why nothing can be read, or None.
    """

    def __init__(self, root: Path = RAPL) -> None:
        self._counters = [p for p in sorted(root.glob("intel-rapl:?/energy_uj")) if _readable(p)]
        self.missing = None if self._counters else f"no readable RAPL counter below {root}"
        self._last = [int(p.read_text()) for p in self._counters]
        self._joules = 0.0

    def joules(self) -> float | None:
        """Energy so far, or None where it cannot be read. Call at least every few minutes: counters wrap."""
        if self.missing:
            return None
        for index, path in enumerate(self._counters):
            now = int(path.read_text())
            wrap = int((path.parent / "max_energy_range_uj").read_text())
            self._joules += ((now - self._last[index]) % wrap) / 1e6
            self._last[index] = now
        return self._joules


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True
