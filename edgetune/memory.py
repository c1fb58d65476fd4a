"""How much memory a process may still take."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetune.cgroups import group_folders
from edgetune.errors import OutOfMemory

#: Limit, and what is used of it: versions 2 and 1.
_GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))

#: torch's and others' class names, matched by name so that nothing has to be imported.
_CLASSES = frozenset({"MemoryError", "OutOfMemoryError", "_ArrayMemoryError"})
_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    # ONNX Runtime, which passes on what C++ says
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, torch, numpy, ONNX Runtime or the system say that memory is not enough."""
    if any(kind.__name__ in _CLASSES for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    worded = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return worded and any(words in str(error).lower() for words in _WORDS)


@contextmanager
def memory_errors(hint: str = "close other programs, or use a larger machine") -> Iterator[None]:
    """Turn every way to say that memory is not enough into a :class:`OutOfMemory`."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
        raise OutOfMemory(f"not enough memory: {said}", hint=hint) from error


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be allocated without swapping, within the container's limits; None where nobody says.

    Page cache counts as available: the kernel gives it back.

    Args:
        proc: as Linux mounts it.
        groups: of control groups.
    """
    found = [_from_meminfo(proc)]
    for folder in group_folders("memory", proc, groups):
        found += [_from_group(folder, *names) for names in _GROUP_FILES]
    return min((value for value in found if value is not None), default=None)


def require_memory(needed: int, what: str) -> None:
    """Fail before work starts when less memory is available than ``what`` needs.

    Raises:
        OutOfMemory: naming both figures.
    """
    available = available_memory()
    if available is not None and available < needed:
        raise OutOfMemory(
            f"{what} needs about {needed / 1e6:.0f} MB of memory, and {available / 1e6:.0f} MB are available",
            hint="close other programs, or export on a larger machine",
        )


def _from_meminfo(proc: Path) -> int | None:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _from_group(folder: Path, limit_name: str, used_name: str) -> int | None:
    limit, used = "".join(_lines(folder / limit_name)), "".join(_lines(folder / used_name))
    if not limit.isdecimal() or not used.isdecimal():
        return None
    cache = [line.split()[1] for line in _lines(folder / "memory.stat") if "_file " in line]
    return int(limit) - int(used) + sum(int(value) for value in cache if value.isdecimal())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
