"""Files of rows, and what was read from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgetune.data.reading import LoadedRows, load_rows

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def write(folder: Path, name: str, content: bytes | str) -> Path:
    """A file of that content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    """A file of JSON Lines."""
    return write(path.parent, path.name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def jsonl(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    """The same, of a name that does not matter."""
    return write_rows(folder / name, rows)


def load(path: Path | str, **options: Any) -> LoadedRows:
    """What is in a file without a fault."""
    return load_rows(path, **options).raise_on_problems()


def said(conversation: Any) -> list[tuple[str, str]]:
    """Role and content of every message."""
    return [(message["role"], message["content"]) for message in conversation.messages]
