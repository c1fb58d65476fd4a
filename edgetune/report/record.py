"""What a report says, whatever it is printed as. Each format prints these types and adds nothing of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from edgetune.stored import Stored

#: ship: evidence says yes; do not ship: it says no; not yet: evidence is missing.
Decision = Literal["ship", "do not ship", "not yet"]
#: How a figure came to be. One table holds one kind only.
Kind = Literal["measured", "constrained", "projected"]
Tone = Literal["", "good", "bad", "warn", "quiet"]
ChartKind = Literal["lines", "steps", "dots", "stacked", "points"]


class Cell(Stored):
    """One place of a table: text for people, and the number behind it for programs."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """Interval: of 95 %, but of a benchmark's figure what its rounds allow."""
    reason: str | None = None
    """Why there is no value."""
    tone: Tone = ""


class Column(Stored):
    """A column and what its figures are."""

    name: str
    unit: str = ""
    long: bool = False
    """Holds running text, such as an answer, which keeps its line breaks."""


class Table(Stored):
    """Rows under headings. The first cell of a row is the row's heading."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: Kind = "measured"

    def is_number(self, place: int) -> bool:
        """Whether a column holds numbers."""
        return any(row[place].value is not None for row in self.rows)


class Series(Stored):
    """Some of a chart's data: points (x, y), or one x for each category."""

    name: str
    colour: str
    """``c1`` to ``c6`` or ``muted``: named, so that light and dark pages can differ."""
    x: tuple[float | None, ...]
    y: tuple[float, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    """Interval of each x of a category, or of each y: as of a cell."""
    hollow: bool = False
    markers: bool = False


class Mark(Stored):
    """A line across a chart at one x, such as a budget."""

    x: float
    name: str


class Chart(Stored):
    """A picture and the table of its data."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    """Also the name of its file."""
    title: str
    alt: str
    """What is seen, for those who do not see it."""
    kind: ChartKind
    x_label: str
    y_label: str = ""
    log_y: bool = False
    categories: tuple[str, ...] = ()
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    table: Table


class Definition(Stored):
    """What a word means here."""

    word: str
    text: str


class Section(Stored):
    """One chapter."""

    id: str
    title: str
    lead: str
    """What it found, in a sentence or two."""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    definitions: tuple[Definition, ...] = ()


class Candidate(Stored):
    """What the rule said of one artifact."""

    name: str
    verdict: Literal["recommended", "passes", "fails", "unknown"]
    why: str


class KeyFigure(Stored):
    """One of the few figures at the top."""

    name: str
    text: str
    unit: str = ""
    detail: str
    """The interval, the rows or the machine that it rests on."""


class Recommendation(Stored):
    """What to do, and why."""

    decision: Decision
    artifact: str | None
    headline: str
    reason: str
    rule: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    key_figures: tuple[KeyFigure, ...] = ()
    next: str | None = None
    """The command that would change a decision that is not to ship."""


class Missing(Stored):
    """Evidence that does not exist, and what would make it."""

    what: str
    command: str


class Report(Stored):
    """All of it."""

    kind: Literal["edgetune-report"] = "edgetune-report"
    schema_version: Literal[1] = 1
    run: str
    title: str
    description: str
    evidence_until: str
    """Time of the newest evidence, UTC, ISO 8601. A report has no time of its own: it says what is stored."""
    edgetune: str
    recommendation: Recommendation
    overview: Table | None
    sections: tuple[Section, ...]
    missing: tuple[Missing, ...]
    warnings: tuple[str, ...]
    """Stored evidence that was left out, and why."""

    @property
    def charts(self) -> Iterator[Chart]:
        """Every chart, in order."""
        return (chart for section in self.sections for chart in section.charts)

    @property
    def tables(self) -> Iterator[tuple[str, Table]]:
        """Every table with the section it stands in, those of charts included."""
        if self.overview:
            yield "overview", self.overview
        for section in self.sections:
            yield from ((section.id, chart.table) for chart in section.charts)
            yield from ((section.id, table) for table in section.tables)
