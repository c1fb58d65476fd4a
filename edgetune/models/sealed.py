"""Cache entries that are whole or absent: a seal, written last, lists every file with its size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetune import console

SEAL = "edgetune.json"


def is_whole(folder: Path) -> bool:
    """Whether a cache entry is complete."""
    try:
        sizes = read_seal(folder)["sizes"]
    except (OSError, ValueError, KeyError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def write_seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Seal a folder that is complete.

    Args:
        folder: of the entry.
        facts: what else to keep of it.
    """
    sizes = {part.name: part.stat().st_size for part in sorted(folder.iterdir())}
    write_json(folder / SEAL, {**facts, "sizes": sizes})


def read_seal(folder: Path) -> dict[str, Any]:
    """What :func:`write_seal` kept."""
    found: dict[str, Any] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    return found


def write_json(path: Path, value: Any) -> None:
    """A file of an entry that is being made."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def say_waiting(holder: str) -> None:
    """Tell that another process makes the same entry."""
    console.note(f"Waiting for another process that prepares the same base model: {holder}")
