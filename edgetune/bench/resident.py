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
    }


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
