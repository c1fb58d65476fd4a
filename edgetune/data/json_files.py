"""JSON Lines and JSON arrays, with the line of every row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgetune.console import progress
from edgetune.data.records import UTF8_MARK, Records, decode_file, keep, load_json, other_encoding


class _Decoder:
    """JSON as the standard has it: no duplicate keys, no NaN. Python's decoder lets both pass."""

    def __init__(self) -> None:
        self._faults: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._pairs, parse_constant=self._constant)

    def decode_line(self, text: str) -> tuple[Any, str | None]:
        """The one value in ``text``, and what is wrong with it.

        Raises:
            json.JSONDecodeError: no value, or more than one.
        """
        value, end, fault = self.decode(text, 0)
        if end < len(text):
            raise json.JSONDecodeError("more follows after the value", text, end)
        return value, fault

    def decode(self, text: str, position: int) -> tuple[Any, int, str | None]:
        """The value at ``position``, where it ends, and what is wrong with it.

        Raises:
            json.JSONDecodeError: no value there.
        """
        self._faults.clear()
        try:
            value, end = self._decoder.raw_decode(text, position)
        except RecursionError:
            raise json.JSONDecodeError("nested too deeply", text, position) from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python reads no whole number of more than 4300 digits
            raise json.JSONDecodeError("holds a number of too many digits", text, position) from None
        return value, end, self._faults[0] if self._faults else None

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            self._faults.append(f"has the key '{next(key for key in keys if keys.count(key) > 1)}' twice")
        return value

    def _constant(self, name: str) -> None:
        self._faults.append(f"holds {name}, which JSON does not have")


def read_jsonl(path: Path, records: Records) -> None:
    """One object a line; blank lines are passed over."""
    decoder = _Decoder()
    with progress(f"Reading {path.name}", total=path.stat().st_size, unit="bytes") as bar, path.open("rb") as lines:
        first = lines.read(4)
        if fault := other_encoding(path, first):
            records.error(str(path), fault)
            return
        if first.startswith(UTF8_MARK):
            records.warn(f"{path}:1", "starts with a byte-order mark, which was skipped")
        lines.seek(len(UTF8_MARK) if first.startswith(UTF8_MARK) else 0)
        # Split at newlines alone: str.splitlines also splits at U+2028 and others, which JSON strings may hold.
        for number, line in enumerate(lines, start=1):
            bar.advance(len(line))
            if line.strip():
                _read_line(f"{path}:{number}", line, decoder, records)


def _read_line(where: str, line: bytes, decoder: _Decoder, records: Records) -> None:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        records.error(where, f"is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1}); save it as UTF-8")
        return
    if "\0" in text:
        records.error(where, "holds NUL bytes; the file was damaged or cut short")
        return
    try:
        value, fault = decoder.decode_line(text)
    except json.JSONDecodeError as error:
        array = text.startswith("[") and where.endswith(":1")
        advice = "; a file with one array must be named .json" if array else ""
        records.error(where, f"is not valid JSON: {error.msg} (column {error.colno}){advice}")
        return
    if fault:
        records.error(where, fault)
    else:
        keep(where, value, records)


def read_json(path: Path, records: Records) -> None:
    """An array of objects, or JSON Lines under the wrong name."""
    text = decode_file(path, records)
    if text is None or not text.strip():
        return
    start = _skip(text, 0)
    if text[start] == "{" and _is_lines(text):
        records.remark = "a .json file with one object a line"
        records.problems.clear()  # the mark at its start is found again
        read_jsonl(path, records)
    elif text[start] == "[":
        _read_array(path, text, start + 1, records)
    else:
        records.error(f"{path}:1", "is not an array of objects; expected [{…}, {…}]")


def _read_array(path: Path, text: str, position: int, records: Records) -> None:
    """Decode the elements one by one, so that each has its line."""
    decoder, line, counted = _Decoder(), 1, 0
    with progress(f"Reading {path.name}", total=len(text), unit="characters") as bar:
        while (position := _skip(text, position)) < len(text) and text[position] != "]":
            line, counted = line + text.count("\n", counted, position), position
            try:
                value, position, fault = decoder.decode(text, position)
            except json.JSONDecodeError as error:
                records.error(f"{path}:{error.lineno}", f"is not valid JSON: {error.msg}; the rest was not read")
                return
            if fault:
                records.error(f"{path}:{line}", fault)
            else:
                keep(f"{path}:{line}", value, records)
            bar.update(position)
            position = _skip(text, position)
            if text[position : position + 1] not in {",", "]", ""}:
                records.error(f"{path}:{line}", "is not followed by ',' or ']'; the rest was not read")
                return
            position += text[position : position + 1] == ","
    if position >= len(text):
        records.error(str(path), "ends inside its array; the file was cut short")
    elif text[position + 1 :].strip():
        records.error(str(path), "goes on after its array; only the array was read")


def _is_lines(text: str) -> bool:
    """Whether a .json file is JSON Lines under another name: its first line is a whole object."""
    try:
        load_json(text.strip().split("\n", 1)[0])
    except json.JSONDecodeError:
        return False
    except ValueError:  # a line that only its size or depth makes bad: reading it says so
        return True
    return True


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
