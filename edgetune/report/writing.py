"""A report in files, and in the formats that are printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetune import console, files
from edgetune.errors import MissingExtra
from edgetune.report.building import build
from edgetune.report.csvtext import to_csv
from edgetune.report.drawing import as_png
from edgetune.report.html import to_html
from edgetune.report.markdown import to_markdown
from edgetune.report.record import Chart, Report
from edgetune.stored import read_if_sound

#: In the folder of the report.
PAGE, RECORD, CHARTS = "report.html", "report.json", "charts"


def to_json(report: Report) -> str:
    """The report itself."""
    return report.model_dump_json(indent=2)


#: Formats that are one text.
PRINTERS = {"md": to_markdown, "json": to_json, "csv": to_csv}


def write_report(run: Path, folder: Path | None = None) -> Path:
    """Write a run's report: one HTML file, its charts as PNG, and the JSON that both were made from.

    Args:
        run: the run folder.
        folder: where; default: ``report`` in the run. Other files in it stay.

    Returns:
        The HTML file.

    Raises:
        MissingExtra: jinja2 is not installed.
        EdgetuneError: ``run`` is not a run folder, or damaged.
    """
    report = build(run)
    target = folder or run / "report"
    page = to_html(report)
    _write_charts(report, target)
    files.write_text(target / RECORD, to_json(report) + "\n")
    files.write_text(target / PAGE, page)
    return target / PAGE


def print_report(run: Path, format: str, output: Path | None = None) -> str:
    """A run's report as text, or what was written instead.

    Args:
        run: the run folder.
        format: ``html`` is written into a folder, the others are text.
        output: the folder of the HTML, or the file of the others.

    Returns:
        The text, or the path of what was written.
    """
    if format == "html":
        return str(write_report(run, output))
    text = PRINTERS[format](build(run))
    if output is None:
        return text.removesuffix("\n")
    files.write_text(output, text.removesuffix("\n") + "\n")
    return str(output)


def _write_charts(report: Report, target: Path) -> None:
    """PNGs of all charts; those of a former report that has more are removed."""
    drawn = write_pictures(list(report.charts), target / CHARTS)
    for chart_id in _former_charts(target) - drawn:
        (target / CHARTS / f"{chart_id}.png").unlink(missing_ok=True)


def write_pictures(charts: Sequence[Chart], folder: Path) -> set[str]:
    """Charts as ``ID.png``; the ids of those drawn, which are none, as is told, without matplotlib."""
    drawn = set()
    with console.progress("Drawing", total=len(charts), unit="charts") as bar:
        for chart in charts:
            try:
                picture = as_png(chart)
            except MissingExtra as error:
                console.note(f"no charts: {error.message}; {error.hint}")
                break
            with files.atomic_path(folder / f"{chart.id}.png") as temporary:
                temporary.write_bytes(picture)
            drawn.add(chart.id)
            bar.advance()
    return drawn


def _former_charts(target: Path) -> set[str]:
    """Ids of the charts of the report that lies there; none if it is damaged or another version's."""
    former = read_if_sound(target / RECORD, Report)
    return {chart.id for chart in former.charts} if former else set()
