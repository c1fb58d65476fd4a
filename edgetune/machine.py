"""What this machine is: read from the operating system with the standard library alone."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgetune.cgroups import group_folders
from edgetune.runtimes.threads import allowed_cpus, cgroup_quota, default_threads

#: Instruction sets that decide how fast small models run: the kernel's word → the usual one.
_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx_vnni": "AVX-VNNI",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "fma": "FMA",
    "f16c": "F16C",
    "asimd": "NEON",
    "asimdhp": "NEON FP16",
    "asimddp": "NEON dot product",
    "i8mm": "NEON INT8 matrix",
    "bf16": "NEON BF16",
    "sve": "SVE",
    "sve2": "SVE2",
}


@dataclass(frozen=True)
class Machine:
    """One computer, as this process sees it. Sizes are bytes; None where it cannot be read.

    Attributes:
        cores: hardware threads of the machine.
        usable_cores: hardware threads that the affinity of this process allows.
        quota: hardware threads that the cgroup allows on average.
        threads: what edgetune gives a runtime by default: physical cores under affinity and quota.
        memory_limit: of the cgroup.
        disk_free: where the command was started.
    """

    python: str
    system: str
    architecture: str
    processor: str
    features: tuple[str, ...]
    cores: int
    usable_cores: int
    quota: float | None
    threads: int
    memory_total: int | None
    memory_available: int | None
    memory_limit: int | None
    disk_free: int


def this_machine(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Look at the machine this runs on."""
    cpu = _read(proc / "cpuinfo")
    memory = _read(proc / "meminfo")
    return Machine(
        python=platform.python_version(),
        system=platform.platform(),
        architecture=platform.machine(),
        processor=_field(cpu, "model name") or platform.processor() or "unknown",
        features=_features(cpu),
        cores=os.cpu_count() or 1,
        usable_cores=len(allowed_cpus()),
        quota=cgroup_quota(),
        threads=default_threads(),
        memory_total=_kilobytes(_field(memory, "MemTotal")),
        memory_available=_kilobytes(_field(memory, "MemAvailable")),
        memory_limit=_memory_limit(proc, cgroup),
        disk_free=shutil.disk_usage(Path.cwd()).free,
    )


def is_running(pid: int) -> bool:
    """Whether a process of that number is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def peak_rss(proc: Path = Path("/proc/self")) -> int:
    """Largest resident set of this process so far, in bytes.

    Not by getrusage where there is a ``/proc``: its peak is inherited from the parent through fork and exec.
    """
    return _kilobytes(_field(_read(proc / "status"), "VmHWM")) or _peak_by_rusage()


def _peak_by_rusage() -> int:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _read(file: Path) -> str:
    """The text of a file of the kernel's, or nothing on a system without it."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str | None:
    """The value of the first ``name : value`` line."""
    for line in text.splitlines():
        key, found, value = line.partition(":")
        if found and key.strip() == name:
            return value.strip()
    return None


def _features(cpuinfo: str) -> tuple[str, ...]:
    words = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split())
    return tuple(name for word, name in _FEATURES.items() if word in words)


def _kilobytes(value: str | None) -> int | None:
    """Bytes of a ``16314296 kB``."""
    return int(value.split()[0]) * 1024 if value else None


def _memory_limit(proc: Path, cgroup: Path) -> int | None:
    """The smallest memory limit on the way from this process's cgroup to the root; versions 2 and 1."""
    names = ("memory.max", "memory.limit_in_bytes")
    return _smallest(_read(folder / name) for folder in group_folders("memory", proc, cgroup) for name in names)


def _smallest(limits: Iterable[str]) -> int | None:
    numbers = [int(limit) for limit in limits if limit.strip().isdigit()]
    real = [number for number in numbers if number < 1 << 60]  # version 1 writes a huge number for "no limit"
    return min(real, default=None)
