"""Rows as a file holds them, before any format is known, and what was found wrong with them."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetune.data.conversation import Problem
from edgetune.data.strict_json import Decoder

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


#: No row of any format is nested as deep as this; Python's own limits are not far above.
DEEPEST = 100


def load_json(text: str) -> Any:
    """What JSON text inside a row says.

    Raises:
        ValueError: it is not valid, or holds what cannot be handled.
    """
    value, fault = Decoder().decode_line(text.strip(" \t\r\n"))
    if fault := fault or _fault(value):
        raise ValueError(fault)
    return value


def keep(where: str, value: Any, records: Records) -> None:
    """Accept a parsed row if it is an object of sound text."""
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a string", type(None): "null"}.get(type(value), "a number")
        records.error(where, f"is {kind}; expected an object with keys such as 'messages'")
    elif fault := _fault(value):
        records.error(where, fault)
    else:
        records.rows.append((where, value))


#: NUL, and halves of surrogate pairs ("\\ud83d" without its partner), which have no UTF-8 form.
_UNSOUND = re.compile("[\0\ud800-\udfff]")


def _fault(value: Any) -> str | None:
    """Why a text inside ``value`` cannot be tokenised, or ``value`` not be handled, or not be written as JSON."""
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            return f"is nested more than {DEEPEST} deep"
        for text in level:
            if isinstance(text, str) and (found := _UNSOUND.search(text)):
                return "holds a NUL character" if found.group() == "\0" else "holds half an emoji (a lone surrogate)"
            if isinstance(text, float) and not math.isfinite(text):
                return "holds a number that is not finite or too large"
        level, depth = [part for whole in level for part in _parts(whole)], depth + 1
    return None


def _parts(value: Any) -> Iterable[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()


def keep_cells(where: str, row: dict[str, Any], records: Records) -> None:
    """Accept a row of a table, whose nested columns may be JSON text."""
    # NaN is how a column of numbers leaves a cell empty; and no format reads a number that is not finite.
    cells = {name: None if isinstance(cell, float) and not math.isfinite(cell) else cell for name, cell in row.items()}
    for column in NESTED:
        text = cells.get(column)
        if text and isinstance(text, str):
            try:
                cells[column] = load_json(text)
            except ValueError as error:
                records.error(where, f"column '{column}' is not valid JSON: {error}")
                return
    keep(where, cells, records)


UTF8_MARK = b"\xef\xbb\xbf"
#: The longer ones first: UTF-32's mark begins with UTF-16's.
_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def other_encoding(path: Path, start: bytes) -> str | None:
    """What to say of a file that begins with the mark of another encoding than UTF-8."""
    found = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    return f"is {found}; convert it: iconv -f {found} -t UTF-8 {shlex.quote(str(path))}" if found else None


def decode_file(path: Path, records: Records) -> str | None:
    """A whole file as text, or None where its encoding is not UTF-8."""
    content = path.read_bytes()
    if fault := other_encoding(path, content[:4]):
        records.error(str(path), fault)
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
