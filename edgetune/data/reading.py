"""From a file, folder or hub id to conversations: the one function that other rooms call."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from edgetune.data.conversation import Conversation, Problem
from edgetune.data.datasets_door import read_folder, read_hub
from edgetune.data.formats import FORMATS, Format, convert, detect, recognise
from edgetune.data.json_files import read_json, read_jsonl
from edgetune.data.records import Records
from edgetune.data.tables import read_csv, read_parquet, read_txt
from edgetune.errors import DataError, ResourceError

#: What else rows of no known format may be.
_CLASSED = (
    "; where rows have a class, name its column with --label-column and the other with --text-column or "
    "--image-column, in a recipe data.label_column and the like"
)
#: How many rows are looked at to detect the format.
SAMPLE = 100

_READERS: dict[str, Callable[[Path, Records], None]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_txt,
}


@dataclass(frozen=True)
class LoadedRows:
    """A data file as conversations.

    Attributes:
        rows: the rows that can be used.
        format: how rows are laid out; None when no row could be read.
        reason: how that is known.
        problems: everything found, errors and warnings, in file order.
        source: the path or id as given.
        total: rows in the file, usable or not.
        options: with which `edgetune data check` reads it in the same way, where it would not by itself.
    """

    rows: tuple[Conversation, ...]
    format: Format | None
    reason: str
    problems: tuple[Problem, ...]
    source: str
    total: int
    options: str = ""

    @property
    def errors(self) -> list[Problem]:
        """Problems that make a row unusable."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """Problems worth a look."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    def raise_on_problems(self) -> Self:
        """Return self if every row can be used.

        Raises:
            DataError: with one problem for each error.
        """
        if errors := self.errors:
            count = f"{len(errors)} problem{'s' if len(errors) > 1 else ''}"
            raise DataError(
                f"{self.source}: {count} in {self.total} rows",
                hint=f"edgetune data check {self.source}{self.options} lists them all",
                problems=[str(problem) for problem in errors],
            )
        return self


def load_rows(
    source: str | Path,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    records: Records | None = None,
) -> LoadedRows:
    """Read rows from a file, a datasets folder or the hub.

    Args:
        source: a .jsonl, .json, .csv, .tsv, .parquet or .txt file, a folder written by ``save_to_disk``,
            or ``hub:ID``; ``#SPLIT`` at the end of the last two chooses a split.
        format: one of ``FORMATS``, or ``auto`` to look at the keys.
        columns: key of the format → what the file calls it.
        records: what the source holds, where it was read already; its columns are renamed.

    Raises:
        DataError: the source is missing or of an unknown kind. What is wrong *inside* is collected in
            ``problems``; strict callers go on with ``.raise_on_problems()``.
        ResourceError: no permission to read it.
    """
    return to_rows(str(source), records or read_records(str(source)), format, columns)


def to_rows(source: str, records: Records, format: str, columns: Mapping[str, str] | None = None) -> LoadedRows:
    """What was read as conversations; arguments as for :func:`load_rows`."""
    names = dict(columns or {})
    if records.rows and (absent := _absent(source, [row for _, row in records.rows], names)):
        return LoadedRows(
            (), None, "no such column", (*records.problems, absent), source, len(records.rows), _options(format, names)
        )
    for key, name in names.items():
        _rename(records, name, key)
    found = _convert(source, records, format)
    # Texts with a label `edgetune data check` would take for ones with a class.
    return replace(found, options=_options("text" if found.format == "text" else format, names))


def _absent(source: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Problem | None:
    """The first column that no row has: it is said once, not for each row."""
    there = dict.fromkeys(key for row in rows for key in row)
    for key, name in columns.items():
        if name in there:
            continue
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.6)
        advice = f"; did you mean '{near[0]}'?" if near else f"; name that of each row's {key}: {_option(key)}"
        known = ", ".join(f"'{one}'" for one in there) or "none"
        return Problem(source, f"no row has the column '{name}' (there are: {known}){advice}")
    return None


def _option(key: str) -> str:
    return f"--{key}-column, in a recipe data.{key}_column"


def _options(format: str, columns: Mapping[str, str]) -> str:
    """Options of `edgetune data check` where it would not read the rows in the same way by itself."""
    names = [f" --{key}-column {shlex.quote(name)}" for key, name in columns.items() if name != key]
    return "".join([f" --format {format}", *names]) if format in ("labelled", "images", "text") else ""


def _rename(records: Records, name: str, key: str) -> None:
    """Call a column by the key of a format. A row without it stays as it is: the format says what it lacks."""
    if name == key:
        return
    for number, (where, row) in enumerate(records.rows):
        if name in row:
            renamed = {other: value for other, value in row.items() if other not in (name, key)}
            records.rows[number] = where, renamed | {key: row[name]}


def locate(source: str) -> tuple[Path, str]:
    """The path that a source names, and the split after ``#`` where it is a folder's."""
    path = Path(source).expanduser()
    bare, _, split = source.rpartition("#")
    folder = Path(bare).expanduser()
    return (folder, split) if bare and not path.exists() and folder.is_dir() else (path, "")


def read_records(source: str) -> Records:
    """What a file, folder or data set holds, before any format is known. Errors: as for :func:`load_rows`."""
    if source.startswith("hub:"):
        return read_hub(source)
    path, split = locate(source)
    if path.is_dir():
        return read_folder(path, source, split)
    if not path.exists():
        raise DataError(f"no such data file: {source}", hint="check the path; hub data sets are written hub:ID")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{source}: '{path.suffix}' files are not supported",
            hint=f"supported: {', '.join(_READERS)}, a datasets folder, and hub:ID",
        )
    records = Records()
    try:
        reader(path, records)
    except PermissionError as error:
        raise ResourceError(f"cannot read {source}: {error.strerror}", hint=f"chmod +r {source}") from error
    return records


def _convert(source: str, records: Records, format: str) -> LoadedRows:
    """Detect the format and turn records into conversations."""
    problems = list(records.problems)
    total = len(records.rows) + len({p.where for p in problems if p.severity == "error"})
    if not records.rows:
        if not any(problem.severity == "error" for problem in problems):
            problems.append(Problem(source, "holds no rows"))
        return LoadedRows((), None, "no rows", tuple(problems), source, total)
    sample = [row for _, row in records.rows[:SAMPLE]]
    chosen, reason = detect(sample) if format == "auto" else (_named(format), "as given")
    if chosen is None:
        keys = ", ".join(f"'{key}'" for key in list(sample[0])[:8])
        known = "; ".join(f"{name}: {layout.keys}" for name, layout in FORMATS.items())
        advice = _in_lower_case(sample[0]) or _alike(sample[0])
        problems.append(Problem(source, f"no known format has the keys {keys}{advice} (known are {known}){_CLASSED}"))
        return LoadedRows((), None, reason, tuple(problems), source, total)
    rows, found = convert(records.rows, chosen, source)
    reason = f"{reason}; {records.remark}" if records.remark else reason
    ordered = sorted([*problems, *found], key=lambda problem: _line(problem.where))
    return LoadedRows(tuple(rows), chosen, reason, tuple(ordered), source, total)


def _alike(row: Mapping[str, Any]) -> str:
    """Advice where a key is nearly one of a format that has the others: a slip of the pen."""
    signatures = [signature for layout in FORMATS.values() for signature in layout.signatures]
    slips = [
        (difflib.SequenceMatcher(None, wanted, key).ratio(), wanted, key)
        for signature in signatures
        for wanted in [name for name in signature if name not in row]
        for key in row
        if key not in signature and set(signature) - set(row) == {wanted}
    ]
    likeness, wanted, key = max(slips, default=(0.0, "", ""))
    return f"; did you mean '{wanted}' by '{key}'?" if likeness > 0.7 else ""


def _in_lower_case(row: Mapping[str, Any]) -> str:
    """Advice where only capitals or blanks keep the keys from being those of a format."""
    seen = recognise({key.strip().lower(): value for key, value in row.items()})
    return f"; written as {' and '.join(map(repr, seen[1]))} they would be {seen[0]} rows" if seen else ""


def _named(format: str) -> Format:
    for name in FORMATS:
        if name == format:
            return name
    raise DataError(f"unknown format '{format}'", hint=f"known: auto, {', '.join(FORMATS)}")


def _line(where: str) -> int:
    """Line number at the end of ``where``; 0 for the whole file."""
    number = where.rpartition(":")[2]
    return int(number) if number.isdigit() else 0
