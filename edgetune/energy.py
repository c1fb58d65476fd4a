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
        zones = sorted(root.glob("intel-rapl:*/energy_uj"))
        self._counters = [path for path in zones if _is_package(path.parent) and _readable(path)]
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


def _is_package(zone: Path) -> bool:
    """Not ``psys``, the whole platform with the package in it, and not a part of one, such as ``core`` or ``dram``."""
    try:
        return (zone / "name").read_text(encoding="utf-8").startswith("package")
    except OSError:
        return False


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True
