"""Control groups of this process, of version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Group:
    """The group that this process is in, in one hierarchy.

    Attributes:
        by: version.
        top: of the hierarchy.
        folder: of the group, at or below it.
    """

    by: Literal["cgroup v1", "cgroup v2"]
    top: Path
    folder: Path


def own_groups(controller: str, membership: Path, root: Path) -> Iterator[Group]:
    """This process's own group in each hierarchy that can limit something.

    Args:
        controller: such as ``cpu`` or ``memory``; each has a hierarchy of its own in version 1.
        membership: ``/proc/self/cgroup``.
        root: ``/sys/fs/cgroup``.
    """
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield Group("cgroup v2", root, root / path.strip("/"))
        elif controller in controllers.split(","):
            yield Group("cgroup v1", root / controller, root / controller / path.strip("/"))


def group_folders(controller: str, proc: Path, root: Path) -> Iterator[Path]:
    """Folders with limits that hold for this process: of its own group and those above it, in both versions.

    A container may see its own group as the root, whatever path the kernel names: roots are always among them. Folders
    and files of a version that the system does not have are not there.

    Args:
        controller: see :func:`own_groups`.
        proc: ``/proc``.
        root: ``/sys/fs/cgroup``.
    """
    own = {top: top for top in (root, root / controller)}
    own |= {group.top: group.folder for group in own_groups(controller, proc / "self/cgroup", root)}
    for top, folder in own.items():
        yield from (part for part in (folder, *folder.parents) if part.is_relative_to(top))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
