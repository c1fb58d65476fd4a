"""A report as one HTML file that needs nothing else: no network, no scripts, no fonts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as resources
from typing import Any

from edgetune import console
from edgetune.errors import MissingExtra
from edgetune.extras import require
from edgetune.report.drawing import as_svg
from edgetune.report.record import Report
from edgetune.report.svg import inline


def to_html(report: Report) -> str:
    """The page. Without matplotlib it has the charts' tables, and says how to get the charts.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    template = _template()  # first: it says what to install; markupsafe comes with jinja2
    pictures, without = _pictures(report)
    page: str = template.render(report=report, pictures=pictures, without=without)
    return page


def _pictures(report: Report) -> tuple[dict[str, Any], str | None]:
    """Chart's id → SVG that is safe to put into the page; and why there are none, where that is so."""
    from markupsafe import Markup

    pictures = {}
    with console.progress("Drawing", total=len(list(report.charts)), unit="charts") as bar:
        for chart in report.charts:
            try:
                drawn = as_svg(chart)
            except MissingExtra as error:
                return {}, f"{error.message}: {error.hint}"
            pictures[chart.id] = Markup(inline(drawn, chart))  # noqa: S704  # matplotlib escapes the words in it
            bar.advance()
    return pictures, None


@cache
def _template() -> Any:
    jinja2 = require("jinja2", extra="report", needed_for="the HTML report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _source(name: str) -> str:
    return (resources("edgetune.report") / "templates" / name).read_text(encoding="utf-8")
