"""CSV, Parquet and plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgetune.console import progress
from edgetune.data.records import Records, decode_file, keep, keep_cells
from edgetune.extras import require


def read_csv(path: Path, records: Records) -> None:
    """Rows of a CSV file with a header, separated by commas, semicolons or tabs."""
    text = decode_file(path, records)
    if text is None or not text.strip():
        return
    if "\0" in text:
        records.error(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}", "holds NUL bytes")
        return
    header_line = text.split("\n", 1)[0]
    delimiter = max(("\t", ";", ","), key=header_line.count)
    records.remark = f"columns separated by {delimiter!r}"
    csv.field_size_limit(1 << 30)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(rows)]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            records.error(f"{path}:1", f"has the column '{min(twice)}' twice")
            return
        line = rows.line_num + 1
        for cells in rows:
            if cells:
                _csv_row(f"{path}:{line}", header, cells, records)
            line = rows.line_num + 1
    except csv.Error as error:
        records.error(f"{path}:{line}", f"is not valid CSV: {error}; the rest of the file was not read")


def _csv_row(where: str, header: Sequence[str], cells: Sequence[str], records: Records) -> None:
    if len(cells) != len(header):
        records.error(where, f"has {len(cells)} columns where the header has {len(header)}")
        return
    keep_cells(where, dict(zip(header, cells, strict=True)), records)


def read_txt(path: Path, records: Records) -> None:
    """Paragraphs between blank lines, or lines where there is but one paragraph."""
    text = decode_file(path, records)
    if text is None:
        return
    blocks = list(_blocks(text))
    if any(end > start + 1 for start, end, _ in blocks) and len(blocks) > 1:
        records.remark = "rows are separated by blank lines"
    else:
        records.remark = "one row a line"
        blocks = [(i, i + 1, line) for i, line in enumerate(text.split("\n")) if line.strip()]
    for start, _, block in blocks:
        keep(f"{path}:{start + 1}", {"text": block.strip("\r\n")}, records)


def _blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """(first line, line after the last, text) of each run of lines that are not blank."""
    lines = text.split("\n")
    start = 0
    for number in range(len(lines) + 1):
        if number == len(lines) or not lines[number].strip():
            if number > start:
                yield start, number, "\n".join(lines[start:number])
            start = number + 1


def read_parquet(path: Path, records: Records) -> None:
    """Rows of a Parquet file; their numbers count from 1."""
    parquet = require("pyarrow.parquet", extra="train", needed_for="reading Parquet")
    arrow = require("pyarrow", extra="train", needed_for="reading Parquet")
    try:
        file = parquet.ParquetFile(path)
        with progress(f"Reading {path.name}", total=file.metadata.num_rows, unit="rows") as bar:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    keep_cells(f"{path}:{number}", without_nulls(row), records)
                bar.update(number)
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        records.error(str(path), f"is not a readable Parquet file: {str(error).splitlines()[0]}")


def without_nulls(value: Any) -> Any:
    """An Arrow value as it was written: absent struct members come back as nulls."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value
