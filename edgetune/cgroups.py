"""Control groups of this process, of version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def group_folders(controller: str, proc: Path, root: Path) -> Iterator[Path]:
    """Folders with limits that hold for this process: of its own group and those above it, in both versions.

    A container may see its own group as the root, whatever path the kernel names: roots are always among them. Folders
    and files of a version that the system does not have are not there.

    Args:
        controller: such as ``cpu`` or ``memory``; each has a hierarchy of its own in version 1.
        proc: ``/proc``.
        root: ``/sys/fs/cgroup``.
    """
    own = {root: "", root / controller: ""}
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            own[root] = path
        elif controller in controllers.split(","):
            own[root / controller] = path
    for top, path in own.items():
        folder = top / path.strip("/")
        yield from (part for part in (folder, *folder.parents) if part.is_relative_to(top))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
