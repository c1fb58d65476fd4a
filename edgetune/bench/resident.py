"""What the kernel says of this process: memory, and bytes fetched from storage."""

from __future__ import annotations

from pathlib import Path

from edgetune.machine import peak_rss


def resident(proc: Path = Path("/proc/self")) -> dict[str, int | None]:
    """Peak and present memory of this process in bytes; only the peak where there is no ``/proc``."""
    status, rollup = _kilobytes(proc / "status"), _kilobytes(proc / "smaps_rollup")
    return {
        "peak_rss": peak_rss(proc),
        "anonymous": status.get("RssAnon"),
        "file_backed": status.get("RssFile"),
        "pss": rollup.get("Pss"),
        "programs": _programs(proc / "smaps"),
    }


def _programs(smaps: Path) -> int | None:
    """Resident bytes of mapped files that hold code: the interpreter and all libraries.

    How many of their pages count hangs on how the kernel read them into its cache, after an installation say, and not
    on what the process does.
    """
    try:
        lines = smaps.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    signs = {"Rss:": 1, "Anonymous:": -1}  # pages that were written to are the process's own
    held: dict[str, int] = {}
    code: set[str] = set()
    file = ""
    for line in lines:
        words = line.split(maxsplit=5)
        if words[0] in signs:
            held[file] = held.get(file, 0) + signs[words[0]] * int(words[1]) * 1024
        elif not words[0].endswith(":"):  # 7f0c-7f0d r-xp 00000000 fe:00 42 /usr/lib/libc.so.6
            file = words[5] if len(words) > 5 and words[4] != "0" else ""
            if file and "x" in words[1]:
                code.add(file)
    return sum(held.get(name, 0) for name in code)


def storage_bytes(proc: Path = Path("/proc/self")) -> int | None:
    """Bytes that this process made the kernel fetch from storage; None where that is not counted."""
    try:
        lines = (proc / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


def _kilobytes(path: Path) -> dict[str, int]:
    """``Name:  123 kB`` lines as bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(count) * 1024 for name, count, _ in (word for word in words if len(word) == 3)}
