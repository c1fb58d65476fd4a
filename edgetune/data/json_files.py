"""JSON Lines and JSON arrays, with the line of every row."""

from __future__ import annotations

import json
from pathlib import Path

from edgetune.console import progress
from edgetune.data.records import UTF8_MARK, Records, decode_file, keep, load_json, other_encoding
from edgetune.data.strict_json import Decoder, TooMuchError


def read_jsonl(path: Path, records: Records) -> None:
    """One object a line; blank lines are passed over."""
    decoder = Decoder()
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


def _read_line(where: str, line: bytes, decoder: Decoder, records: Records) -> None:
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
    decoder, line, counted = Decoder(), 1, 0
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
    except json.JSONDecodeError as error:
        return isinstance(error, TooMuchError)  # a line that only its size or depth makes bad: reading it says so
    except ValueError:  # so does it of what only Python takes for JSON
        return True
    return True


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
