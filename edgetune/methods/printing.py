"""A comparison of methods in the formats that it is printed in, and its charts as files."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.evaluation.text import bare_table, printed
from edgetune.methods.choosing import choose, rule
from edgetune.methods.record import MethodsComparison
from edgetune.methods.sections import sections
from edgetune.report.csvtext import COLUMNS, cell_rows, harmless
from edgetune.report.markdown import escape, section_lines
from edgetune.report.record import Table
from edgetune.report.writing import CHARTS, write_pictures

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def to_json(comparison: MethodsComparison) -> str:
    """All that is stored."""
    return comparison.model_dump_json(indent=2)


def to_markdown(comparison: MethodsComparison) -> str:
    """Recommendation, tables, notes and definitions; charts are given as their tables."""
    choice = choose(comparison)
    lines = [f"# {escape(comparison.name)}: {escape(choice.headline)}", ""]
    lines += [escape(" ".join(choice.reasons)), "", "The rule:", ""]
    lines += [f"{place}. {escape(text)}" for place, text in enumerate(rule(comparison.margin), 1)]
    for section in sections(comparison):
        lines += ["", *section_lines(section)]
    return "\n".join(lines)


def to_csv(comparison: MethodsComparison) -> str:
    """Every cell of every table, as a report's CSV has them."""
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    choice = choose(comparison)
    for name, text in (("headline", choice.headline), ("reason", " ".join(choice.reasons))):
        place = ("recommendation", "recommendation", "", comparison.name, name)
        writer.writerow([*map(harmless, place), "", "", "", "", harmless(text), ""])
    for section in sections(comparison):
        for table in section.tables:
            writer.writerows(cell_rows(section.id, table))
    return target.getvalue().removesuffix("\n")


def to_text(comparison: MethodsComparison, width: int | None = None) -> str:
    """For a terminal.

    Args:
        comparison: what was found.
        width: of the screen; default: what the tables need.
    """
    choice = choose(comparison)
    parts = [
        printed([_rich(table) for table in section.tables], [f"  {note}" for note in section.notes], width or _WIDE)
        for section in sections(comparison)
    ]
    return "\n".join([*parts, "", choice.headline, *(f"  {reason}" for reason in choice.reasons)])


#: Six methods with their intervals fit; a narrower terminal wraps.
_WIDE = 200
#: Formats that are one text.
PRINTERS = {"text": to_text, "md": to_markdown, "json": to_json, "csv": to_csv}


def _rich(table: Table) -> RichTable:
    found = bare_table(f"\n{table.caption}", *(column.name for column in table.columns))
    for row in table.rows:
        found.add_row(*(cell.text.replace("[", "\\[") for cell in row))
    return found


def write_charts(comparison: MethodsComparison, folder: Path) -> None:
    """The charts as PNG, in ``charts`` below ``folder``; without matplotlib it is told how to get them."""
    write_pictures([chart for section in sections(comparison) for chart in section.charts], folder / CHARTS)
