"""A memory limit for one process of this host: a control group where one may be made, else a resource limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgetune.cgroups import own_groups

_PROC, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A limit that a process takes upon itself before it works.

    Attributes:
        by: ``cgroup v1``, ``cgroup v2`` or ``rlimit``.
        group: folder of the control group; None with a resource limit.
        bytes: of it.
    """

    by: str
    group: Path | None
    bytes: int

    def killed(self) -> int:
        """Processes that the kernel ended in it for want of memory."""
        if self.group is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(self.group / name).splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0


@contextmanager
def memory_limit(size: int, proc: Path = _PROC, root: Path = _CGROUPS) -> Iterator[MemoryLimit]:
    """Make a limit of so many bytes for a process to come; it is gone afterwards.

    The group lies below this process's own, so that limits above it still hold.
    """
    name = f"edgetune-{os.getpid()}"
    for own in own_groups("memory", proc, root):
        group = own.folder / name
        if _make(group, own.by, size):
            try:
                yield MemoryLimit(own.by, group, size)
            finally:
                with suppress(OSError):  # a process that is being ended keeps it for a moment; the kernel then has it
                    group.rmdir()
            return
    yield MemoryLimit("rlimit", None, size)


def _make(group: Path, by: str, size: int) -> bool:
    """Make a group with that limit and without swap; False where this user may not, or its parent hands none down."""
    limits = {"memory.max": size, "memory.swap.max": 0}
    if by == "cgroup v1":
        limits = {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}
    needed = next(iter(limits))
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        if not (group / needed).exists():
            raise FileNotFoundError(needed)
        for file, value in limits.items():
            if (group / file).exists():  # swap is not counted everywhere
                (group / file).write_text(str(value), encoding="ascii")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
