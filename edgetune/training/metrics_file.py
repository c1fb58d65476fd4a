"""``metrics.jsonl``: one JSON object a line, appended as training goes, cut back when it resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetune import files

#: Of memory: the largest of all sessions counts.
PEAKS = ("peak_rss", "peak_cuda")


def append(path: Path, event: str, step: int, values: Mapping[str, Any]) -> None:
    """Add one line: ``{"event": …, "step": …, …}``."""
    line = json.dumps({"event": event, "step": step, **values}, allow_nan=False)
    with files.disk_errors(path), path.open("a", encoding="utf-8") as handle:
        handle.write(line + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines. A last line that a killed process left without its end is not one."""
    if not path.is_file():
        return []
    *whole, _unfinished = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


def cut_after(path: Path, step: int) -> None:
    """Drop what was written after ``step``: training goes on from there and writes it again."""
    kept = [entry for entry in read(path) if entry["step"] <= step]
    if path.is_file():
        files.write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
