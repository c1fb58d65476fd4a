"""Rows as a file holds them, before any format is known, and what was found wrong with them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetune.data.conversation import Problem

#: Columns that hold JSON when a file of flat cells (CSV) or of strings (Parquet) carries them.
NESTED = ("messages", "conversations", "tools")


@dataclass
class Records:
    """What a file holds.

    Attributes:
        rows: (where, row) in file order.
        problems: what could not be read.
        remark: how the file was read, where that was a choice.
    """

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remark: str = ""

    def error(self, where: str, message: str) -> None:
        """Note a row that cannot be used."""
        self.problems.append(Problem(where, message))

    def warn(self, where: str, message: str) -> None:
        """Note something odd."""
        self.problems.append(Problem(where, message, "warning"))


def keep(where: str, value: Any, records: Records) -> None:
    """Accept a parsed row if it is an object of sound text."""
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a string", type(None): "null"}.get(type(value), "a number")
        records.error(where, f"is {kind}; expected an object with keys such as 'messages'")
    elif fault := _bad_text(value):
        records.error(where, fault)
    else:
        records.rows.append((where, value))


#: NUL, and halves of surrogate pairs ("\\ud83d" without its partner), which have no UTF-8 form.
_UNSOUND = re.compile("[\0\ud800-\udfff]")


def _bad_text(value: Any) -> str | None:
    """Why a text inside ``value`` cannot be tokenised."""
    if isinstance(value, str):
        found = _UNSOUND.search(value)
        if found is None:
            return None
        return "holds a NUL character" if found.group() == "\0" else "holds half an emoji (a lone surrogate)"
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((fault for part in parts if (fault := _bad_text(part))), None)


def keep_cells(where: str, row: dict[str, Any], records: Records) -> None:
    """Accept a row of a table, whose nested columns may be JSON text."""
    cells = dict(row)
    for column in NESTED:
        if cells.get(column) and isinstance(cells[column], str):
            try:
                cells[column] = json.loads(cells[column])
            except ValueError as error:
                records.error(where, f"column '{column}' is not valid JSON: {error}")
                return
    keep(where, cells, records)


UTF16 = (b"\xff\xfe", b"\xfe\xff")
UTF8_MARK = b"\xef\xbb\xbf"


def decode_file(path: Path, records: Records) -> str | None:
    """A whole file as text, or None where its encoding is not UTF-8."""
    content = path.read_bytes()
    if content[:2] in UTF16:
        records.error(str(path), f"is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {path}")
        return None
    if content.startswith(UTF8_MARK):
        records.warn(f"{path}:1", "starts with a byte-order mark, which was skipped")
        content = content[3:]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        records.error(f"{path}:{line}", f"is not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8")
        return None
