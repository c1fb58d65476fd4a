"""A report's tables as CSV, one cell a line: what a spreadsheet or a script can filter."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from edgetune.report.record import Report, Table

COLUMNS = ("section", "table", "kind", "row", "column", "unit", "value", "low", "high", "text", "reason")
#: A spreadsheet runs a cell that begins so.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(report: Report) -> str:
    """Every cell of every table; numbers as they are, words made harmless for spreadsheets."""
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    found = report.recommendation
    for name, text in (("decision", found.decision), ("headline", found.headline), ("reason", found.reason)):
        words = (harmless(word) for word in ("recommendation", "recommendation", "", report.title, name))
        writer.writerow([*words, "", "", "", "", harmless(text), ""])
    for section, table in report.tables:
        writer.writerows(cell_rows(section, table))
    return target.getvalue()


def cell_rows(section: str, table: Table) -> Iterator[list[str | float]]:
    """A row of CSV for each cell of a table; see :data:`COLUMNS`."""
    for row in table.rows:
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            place = (section, table.id, table.kind, row[0].text, column.name, column.unit)
            numbers = ("" if number is None else number for number in (cell.value, cell.low, cell.high))
            yield [*map(harmless, place), *numbers, harmless(cell.text), harmless(cell.reason or "")]


def harmless(text: str) -> str:
    """Words that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("on")
    ("'=1+1", 'on')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
