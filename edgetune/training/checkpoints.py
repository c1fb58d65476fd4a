"""Checkpoints that are whole: each gets a seal once every file is on disk.

A process can die at any byte. A checkpoint without a seal, or whose files differ in
size from what the seal says, is not one, and is removed before training goes on. So is
one whose files have other content than when they were sealed: training then goes on from
the one before, and says so.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgetune import console, files
from edgetune.errors import TrainingError

SEAL = "seal.json"
#: What a checkpoint holds besides the state of the training: names begin so.
RESULT_FILES = ("adapter_", "model", "config.json", "generation_config.json")
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint folder."""

    folder: Path
    step: int


def seal(folder: Path) -> None:
    """Declare a checkpoint whole: wait until all is on the disk, then write sizes and hashes beside it, atomically.

    Older checkpoints can be removed after that, even if the power fails.
    """
    files.sync(folder)
    files.sync_names(folder.parent)
    parts = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    files.write_json(
        folder / SEAL,
        {
            part.relative_to(folder).as_posix(): {"size": part.stat().st_size, "sha256": files.sha256_file(part)}
            for part in parts
        },
    )


def is_sealed(folder: Path) -> bool:
    """Whether every file that the seal names is there in its full size."""
    try:
        return all((folder / name).stat().st_size == size for name, (size, _) in _sealed_files(folder).items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def changed_files(folder: Path) -> list[str]:
    """Names of the files of a sealed checkpoint that have other content than when it was sealed.

    A seal from before hashes were kept knows sizes alone.
    """
    return [
        name
        for name, (_, digest) in _sealed_files(folder).items()
        if digest is not None and files.sha256_file(folder / name) != digest
    ]


def _sealed_files(folder: Path) -> dict[str, tuple[int, str | None]]:
    """Name → size and hash."""
    sealed = json.loads((folder / SEAL).read_bytes())
    return {
        name: (about, None) if isinstance(about, int) else (about["size"], about["sha256"])
        for name, about in sealed.items()
    }


def sealed_checkpoints(root: Path) -> list[Checkpoint]:
    """The whole checkpoints below ``root``, oldest first."""
    found = []
    for folder in root.glob("checkpoint-*") if root.is_dir() else ():
        match = _NAME.fullmatch(folder.name)
        if match and is_sealed(folder):
            found.append(Checkpoint(folder, int(match[1])))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest(root: Path) -> Checkpoint | None:
    """The newest whole checkpoint, after removing what a killed process left half-written, and what was damaged.

    Raises:
        TrainingError: there are checkpoints, and each is damaged; none is removed.
    """
    whole = sealed_checkpoints(root)
    damaged: list[str] = []
    while whole and (changed := changed_files(whole[-1].folder)):
        damaged.append(f"{whole.pop().folder}: changed since it was written: {', '.join(changed)}")
    if damaged and not whole:
        raise TrainingError(
            f"every checkpoint in {root} is damaged",
            hint="train again with a new --output, or restore the checkpoints from a copy",
            problems=damaged,
        )
    for problem in damaged:
        console.note(f"warning: {problem}; it is removed, and training goes on from step {whole[-1].step}")
    names = {checkpoint.folder for checkpoint in whole}
    for folder in root.glob("*checkpoint-*") if root.is_dir() else ():
        if folder not in names:
            shutil.rmtree(folder)
    return whole[-1] if whole else None


def has_result(root: Path, step: int) -> bool:
    """Whether the result of one step is there as it was written; the state of the training may be damaged."""
    return _with_result(root, step) is not None


def at_step(root: Path, step: int) -> Checkpoint:
    """The checkpoint of one step, with its result whole.

    Raises:
        TrainingError: it is missing or damaged.
    """
    if (found := _with_result(root, step)) is None:
        raise TrainingError(
            f"the best checkpoint, of step {step}, is missing or damaged in {root}",
            hint="the same command goes on with the next best one",
        )
    return found


def _with_result(root: Path, step: int) -> Checkpoint | None:
    found = next((one for one in sealed_checkpoints(root) if one.step == step), None)
    if found is None or any(name.startswith(RESULT_FILES) for name in changed_files(found.folder)):
        return None
    return found


def rotate(root: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the newest ``keep`` checkpoints and the best one."""
    for checkpoint in sealed_checkpoints(root)[:-keep]:
        if checkpoint.step != best_step:
            shutil.rmtree(checkpoint.folder)
