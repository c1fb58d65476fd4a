"""A data report for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from edgetune.data.checking import DataReport, FileReport
from edgetune.data.conversation import Problem
from edgetune.data.lengths import Lengths

#: Warnings printed before it says how many more there are; ``--json`` prints all.
SHOWN = 20
BAR = 40


def print_report(report: DataReport) -> None:
    """Print tables and warnings on stdout. Errors are left to whoever raises them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for file in report.files:
        table = Table(title=file.source, title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, value in _facts(file, report):
            table.add_row(name, value)
        console.print(table)
        if file.lengths:
            console.print(_histogram(file.lengths, file.limit), markup=False)
        if file.classes:
            console.print(_bars(file.classes), markup=False)
    _print_warnings(report.warnings)
    print(f"{_count(report.errors, 'error')}, {_count(report.warnings, 'warning')}", flush=True)


def _facts(file: FileReport, report: DataReport) -> list[tuple[str, str]]:
    facts = [
        ("format", f"{file.format or 'unknown'} ({file.reason})"),
        ("rows", f"{file.rows}, of which {file.usable} can be used"),
        ("duplicates", str(file.duplicates)),
    ]
    if file.classes:
        facts.insert(2, ("classes", str(len(file.classes))))
    else:
        facts[2:2] = [
            ("messages", ", ".join(f"{count} {role}" for role, count in file.roles.items()) or "none"),
            ("answers a row", ", ".join(f"{turns} in {count}" for turns, count in file.turns.items()) or "none"),
        ]
    if file.limit is not None:
        facts.append(("too long", f"{file.too_long} over {file.limit} tokens ({report.model} has {report.context})"))
    if file.split:
        facts.append(("split", f"{file.split} conversations become a row for each answer: the template rewrites turns"))
    measured = {"row": file.lengths, "longer side": file.sides, "answer": file.answers}
    return [*facts, *((name, _quantiles(part)) for name, part in measured.items() if part)]


def _count(found: list[Problem], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _quantiles(lengths: Lengths) -> str:
    return (
        f"{lengths.minimum} to {lengths.maximum} {lengths.unit}, "
        f"median {lengths.median}, 90 % up to {lengths.p90}, 99 % up to {lengths.p99}"
    )


def _histogram(lengths: Lengths, limit: int | None) -> str:
    """One line a bar; where rows are cut is drawn between the bars."""
    unit = lengths.unit if lengths.unit == "tokens" else f"{lengths.unit}; give --model to count tokens"
    lines = [f"length in {unit}"]
    most = max(count for _, _, count in lengths.bins)
    width = len(str(lengths.bins[-1][1]))
    marked = False
    for start, end, count in lengths.bins:
        if limit is not None and start > limit and not marked:
            lines.append(f"{'-' * (2 * width + 2)} limit: {limit}")
            marked = True
        lines.append(f"{start:>{width}}-{end - 1:<{width}} {'█' * round(BAR * count / most) or '▏'} {count}")
    return "\n".join(lines) + "\n"


def _bars(classes: Mapping[str, int]) -> str:
    """Rows of each class; of very many the largest and smallest."""
    names = list(classes)
    if len(names) > SHOWN:
        ranked = sorted(names, key=lambda name: -classes[name])
        names = [*ranked[: SHOWN // 2], *ranked[-(SHOWN // 2) :]]
    most, width = max(classes.values()), max(map(len, names))
    said = (
        "rows of each class" if len(names) == len(classes) else f"rows of the {SHOWN // 2} largest and smallest classes"
    )
    bars = (f"{name:>{width}} {'█' * round(BAR * classes[name] / most) or '▏'} {classes[name]}" for name in names)
    return "\n".join([said, *bars]) + "\n"


def _print_warnings(warnings: list[Problem]) -> None:
    for problem in warnings[:SHOWN]:
        print(f"warning: {problem}")
    if len(warnings) > SHOWN:
        print(f"warning: {len(warnings) - SHOWN} more; --json prints all")
