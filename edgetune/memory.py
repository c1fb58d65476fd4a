"""How much memory a process may still take."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetune.errors import OutOfMemory

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)

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


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, within the container's limit; None where nobody says.

    Page cache counts as available: the kernel gives it back.
    """
    found = [value for value in (_from_meminfo(), *(_from_cgroup(*pair) for pair in _CGROUPS)) if value is not None]
    return min(found) if found else None


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
