"""How much memory a process may still take."""

from __future__ import annotations

from pathlib import Path

from edgetune.errors import ResourceError

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, within the container's limit; None where nobody says.

    Page cache counts as available: the kernel gives it back.
    """
    found = [value for value in (_from_meminfo(), *(_from_cgroup(*pair) for pair in _CGROUPS)) if value is not None]
    return min(found) if found else None


def require_memory(needed: int, what: str) -> None:
    """Fail before work starts when less memory is available than ``what`` needs.

    Raises:
        ResourceError: naming both figures.
    """
    available = available_memory()
    if available is not None and available < needed:
        raise ResourceError(
            f"{what} needs about {needed / 1e6:.0f} MB of memory, and {available / 1e6:.0f} MB are available",
            hint="close other programs, or export on a larger machine",
        )


def _from_meminfo() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _from_cgroup(limit_file: str, used_file: str) -> int | None:
    limit, used = "".join(_lines(limit_file)), "".join(_lines(used_file))
    if not limit.isdecimal() or not used.isdecimal():
        return None
    cache = [line.split()[1] for line in _lines(str(Path(used_file).with_name("memory.stat"))) if "_file " in line]
    return int(limit) - int(used) + sum(int(value) for value in cache if value.isdecimal())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
