"""Checkpoints that are whole: each gets a seal once every file is on disk.

A process can die at any byte. A checkpoint without a seal, or whose files differ in
size from what the seal says, is not one, and is removed before training goes on.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgetune import files
from edgetune.errors import TrainingError

SEAL = "seal.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint folder."""

    folder: Path
    step: int


def seal(folder: Path) -> None:
    """Declare a checkpoint whole: wait until all of it is on the disk, then write its sizes beside it, atomically.

    Older checkpoints can be removed after that, even if the power fails.
    """
    files.sync(folder)
    files.sync_names(folder.parent)
    parts = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    files.write_json(folder / SEAL, {part.relative_to(folder).as_posix(): part.stat().st_size for part in parts})


def is_sealed(folder: Path) -> bool:
    """Whether every file that the seal names is there in its full size."""
    try:
        sizes = json.loads((folder / SEAL).read_bytes())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def sealed_checkpoints(root: Path) -> list[Checkpoint]:
    """The whole checkpoints below ``root``, oldest first."""
    found = []
    for folder in root.glob("checkpoint-*") if root.is_dir() else ():
        match = _NAME.fullmatch(folder.name)
        if match and is_sealed(folder):
            found.append(Checkpoint(folder, int(match[1])))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest(root: Path) -> Checkpoint | None:
    """The newest whole checkpoint, after removing what a killed process left half-written."""
    whole = sealed_checkpoints(root)
    names = {checkpoint.folder for checkpoint in whole}
    for folder in root.glob("*checkpoint-*") if root.is_dir() else ():
        if folder not in names:
            shutil.rmtree(folder)
    return whole[-1] if whole else None


def at_step(root: Path, step: int) -> Checkpoint:
    """The whole checkpoint of one step.

    Raises:
        TrainingError: it is missing or damaged.
    """
    for checkpoint in sealed_checkpoints(root):
        if checkpoint.step == step:
            return checkpoint
    raise TrainingError(
        f"the best checkpoint, of step {step}, is missing or damaged in {root}", hint="train again with a new --output"
    )


def rotate(root: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` checkpoints and the best one."""
    for checkpoint in sealed_checkpoints(root)[:-keep]:
        if checkpoint.step != best_step:
            shutil.rmtree(checkpoint.folder)
