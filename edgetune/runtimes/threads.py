"""How many threads a runtime should use on this machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgetune.cgroups import group_folders
from edgetune.errors import EdgetuneError

#: llama.cpp's GGML_MAX_N_THREADS; it ends the process where more are asked for.
MOST_THREADS = 512


def chosen_threads(wanted: int | None) -> int:
    """As many as are wanted, else :func:`default_threads`.

    Raises:
        EdgetuneError: more than a runtime takes.
    """
    if wanted is not None and wanted > MOST_THREADS:
        raise EdgetuneError(f"{wanted} threads are more than a runtime takes", hint=f"{MOST_THREADS} at most")
    return wanted or default_threads()


def default_threads(sys_root: Path = Path("/sys"), proc_root: Path = Path("/proc")) -> int:
    """Physical cores that this process may use: affinity and cgroup quota respected, hyper-threads counted once.

    Token generation is bound by memory, so a second thread on one core only adds waiting.
    """
    allowed = allowed_cpus()
    cores = {_core(cpu, sys_root) for cpu in allowed}
    quota = _quota(sys_root, proc_root)
    count = len(cores) if quota is None else min(len(cores), max(1, math.floor(quota)))
    return max(1, count)


def cgroup_quota() -> float | None:
    """CPUs this process may use on average by its cgroup, or None without a limit."""
    return _quota(Path("/sys"), Path("/proc"))


def allowed_cpus() -> list[int]:
    """Numbers of the processors that this process may use; of all, where the system has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _core(cpu: int, sys_root: Path) -> str:
    """Name of the physical core: the list of its hardware threads, or the CPU itself where that is unreadable."""
    try:
        siblings = sys_root / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        return siblings.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _quota(sys_root: Path, proc_root: Path) -> float | None:
    """Smallest quota on the way from this process's cgroup to the root, in CPUs; versions 2 and 1."""
    folders = list(group_folders("cpu", proc_root, sys_root / "fs/cgroup"))
    written = [_text(folder / "cpu.max").split() for folder in folders]
    written += [
        [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()] for folder in folders
    ]
    # Without a limit version 2 has "max", version 1 has -1.
    quotas = [int(pair[0]) / int(pair[1]) for pair in written if len(pair) == 2 and all(map(str.isdecimal, pair))]
    return min(quotas, default=None)


def _text(file: Path) -> str:
    """The text of a file of the kernel's, or nothing where it is not there."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
