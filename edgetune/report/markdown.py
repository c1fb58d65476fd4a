"""A report as Markdown. What models said is inert: no HTML, no links, no pictures."""

from __future__ import annotations

import re

from edgetune.report.record import Cell, Report, Section, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~!])")


def to_markdown(report: Report) -> str:
    """All of it; charts are given as their tables."""
    found = report.recommendation
    lines = [f"# {escape(report.title)}: {escape(found.headline)}", ""]
    lines += [f"{escape(report.description)}", ""] if report.description else []
    lines += [escape(found.reason), ""]
    lines += [f"Next: `{_code(found.next)}`", ""] if found.next else []
    lines += [
        f"- {escape(one.name)}: **{escape(f'{one.text} {one.unit}'.strip())}** ({escape(one.detail)})"
        for one in found.key_figures
    ]
    lines += ["", "The rule:", ""] if found.key_figures else ["The rule:", ""]
    # Our own words, in which back quotes mark commands.
    lines += [f"{place}. {text}" for place, text in enumerate(found.rule, 1)]
    lines += ["", *_table(report.overview), ""] if report.overview else []
    lines += [f"- {escape(one.name)}: {one.verdict}: {escape(one.why)}" for one in found.candidates]
    for section in report.sections:
        lines += ["", *section_lines(section)]
    lines += ["", *_missing(report)]
    lines += ["", f"Run {escape(report.run)}, evidence until {report.evidence_until}, edgetune {report.edgetune}."]
    return "\n".join(lines)


def section_lines(section: Section) -> list[str]:
    """A section, its charts given as their tables."""
    lines = [f"## {escape(section.title)}", "", escape(section.lead)]
    for table in [*(chart.table for chart in section.charts), *section.tables]:
        lines += ["", *_table(table)]
    lines += [""] if section.notes else []
    lines += [f"- {escape(note)}" for note in section.notes]
    lines += ["", "Words:", ""] if section.definitions else []
    return lines + [f"- **{escape(one.word)}**: {escape(one.text)}" for one in section.definitions]


def _table(table: Table) -> list[str]:
    kind = "" if table.kind == "measured" else f" (*{table.kind}*)"
    names = [f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns]
    lines = [f"**{escape(table.caption)}**{kind}", ""]
    lines += [f"| {' | '.join(escape(name) for name in names)} |", f"|{'---|' * len(names)}"]
    return lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]


def _cell(cell: Cell) -> str:
    reason = f" ({escape(cell.reason)})" if cell.reason else ""
    return (escape(cell.text) + reason).replace("\r", "").replace("\n", "<br>")


def _missing(report: Report) -> list[str]:
    lines = ["## Not there", ""] if report.missing or report.warnings else []
    lines += [f"- {escape(one.what)}: `{_code(one.command)}`" for one in report.missing]
    return lines + [f"- {escape(warning)}" for warning in report.warnings]


def escape(text: str) -> str:
    r"""Words that Markdown takes as they are.

    >>> escape("<b> a|b")
    '\\<b\\> a\\|b'
    """
    return _SPECIAL.sub(r"\\\1", text)


def _code(text: str) -> str:
    return text.replace("`", "'")
