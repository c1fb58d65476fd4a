"""How many threads a runtime should use on this machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

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
    """Smallest quota on the way from this process's cgroup (version 2) to the root, in CPUs."""
    root = sys_root / "fs/cgroup"
    try:
        lines = (proc_root / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
    folder = root / own
    quotas = [_cpu_max(part / "cpu.max") for part in (folder, *folder.parents) if part.is_relative_to(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _cpu_max(file: Path) -> float | None:
    try:
        quota, period = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)
