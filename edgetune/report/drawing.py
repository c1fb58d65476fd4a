"""Charts as pictures, with matplotlib. Colours are those of the light page; :mod:`svg` makes them change with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from edgetune.extras import require
from edgetune.report.record import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Name → colour on white. Distinct also for those who see few colours; markers and dashes differ too.
PALETTE = {
    "c1": "#1f5fa8",
    "c2": "#b8561b",
    "c3": "#1d7a5f",
    "c4": "#7b4fa6",
    "c5": "#8a6d0b",
    "c6": "#a6325f",
    "muted": "#6a7280",
    "ink": "#1c2530",
    "grid": "#dfe3e8",
    "page": "#fefefe",
}
_MARKERS = "osD^vP"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 3)))
#: Inches; small, so that the words stay readable on a phone.
_WIDTH, _HEIGHT, _ROW = 4.9, 3.1, 0.42
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.titlesize": 9.5,
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a name with dollars in it is a name
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": PALETTE["grid"],
    "grid.linewidth": 0.6,
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["ink"],
    "ytick.labelcolor": PALETTE["ink"],
    "figure.facecolor": PALETTE["page"],
    "axes.facecolor": PALETTE["page"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",
}
#: Longest name drawn into a picture; the table has it whole.
_NAME = 28


def as_png(chart: Chart) -> bytes:
    """A chart as PNG on white.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with _figure(chart) as figure:
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
        return buffer.getvalue()


def as_svg(chart: Chart) -> str:
    """A chart as SVG, as matplotlib writes it.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with _figure(chart) as figure:
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        return buffer.getvalue().decode()


@contextmanager
def _figure(chart: Chart) -> Iterator[Figure]:
    require("matplotlib", extra="report", needed_for="drawing charts")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = max(1.7, 1.15 + _ROW * len(chart.categories)) if chart.categories else _HEIGHT
    with mpl.rc_context({**_STYLE, "svg.hashsalt": chart.id}), warnings.catch_warnings():
        # A name in a script that the font lacks: boxes in the PNG; the page takes the reader's own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _DRAW[chart.kind](axes, chart)
        _finish(figure, axes, chart)
        yield figure


def _finish(figure: Figure, axes: Axes, chart: Chart) -> None:
    axes.set_xlabel(chart.x_label)
    if chart.y_label:
        axes.set_ylabel(chart.y_label)
    for mark in chart.marks:
        axes.axvline(mark.x, color=PALETTE["c6"], linewidth=1.2, linestyle=(0, (4, 2)), label=clean(mark.name))
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_plain)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or chart.marks:
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 4), columnspacing=1.2)


def _plain(value: float, _place: float) -> str:
    """A tick of a logarithmic axis: matplotlib's own are formulas, which names make us switch off."""
    return f"{value:g}"


def _lines(axes: Axes, chart: Chart) -> None:
    for place, one in enumerate(chart.series):
        look: dict[str, Any] = {"color": PALETTE[one.colour], "label": clean(one.name)}
        axes.plot(_numbers(one.x), one.y, marker=_MARKERS[place % 6] if one.markers else "", markersize=4, **look)
        if one.low and one.high:
            axes.fill_between(
                _numbers(one.x), _numbers(one.low), _numbers(one.high), color=PALETTE[one.colour], alpha=0.15
            )
    _whole_ticks(axes, chart)


def _whole_ticks(axes: Axes, chart: Chart) -> None:
    """Ticks at whole numbers where few of them are all there is, as with threads."""
    from matplotlib.ticker import MaxNLocator

    values = [x for one in chart.series for x in _numbers(one.x)]
    if values and max(values) <= 64 and all(value == int(value) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _steps(axes: Axes, chart: Chart) -> None:
    for place, one in enumerate(chart.series):
        xs = _numbers(one.x)
        x, y = [xs[0], *xs], [0.0, *one.y]
        dashes = _DASHES[place % len(_DASHES)]
        axes.step(x, y, where="post", color=PALETTE[one.colour], linestyle=dashes, label=clean(one.name))
    axes.set_ylim(0, 1.02)
    low = min(min(_numbers(one.x)) for one in chart.series)
    # The slowest one in two hundred would squeeze all others into a corner: the table has the largest.
    high = max(sorted(_numbers(one.x))[int(0.995 * (len(one.x) - 1))] for one in chart.series)
    room = 0.04 * (high - low) or 0.05 * high
    axes.set_xlim(max(low - room, 0), high + room)


def _dots(axes: Axes, chart: Chart) -> None:
    step = 0.5 / len(chart.series)
    for order, one in enumerate(chart.series):
        colour, shift = PALETTE[one.colour], (order - (len(chart.series) - 1) / 2) * step
        for at, (low, high) in enumerate(zip(one.low, one.high, strict=True)):
            if low is not None and high is not None:
                axes.plot([low, high], [at + shift] * 2, color=colour, linewidth=2.2, alpha=0.45)
        points = [(value, at + shift) for at, value in enumerate(one.x) if value is not None]
        look: dict[str, Any] = {"color": colour, "markerfacecolor": PALETTE["page"] if one.hollow else colour}
        values, places = [value for value, _ in points], [place for _, place in points]
        axes.plot(values, places, _MARKERS[order % 6], markersize=6, label=clean(one.name), **look)
    _categories(axes, chart)
    values = [v for one in chart.series for side in (one.x, one.low, one.high) for v in _numbers(side)]
    if values and min(values) >= 0:
        room = 0.03 * max(values) or 0.02
        axes.set_xlim(-room, (1.0 if max(values) <= 1 else max(values)) + room)


def _stacked(axes: Axes, chart: Chart) -> None:
    begins = [0.0] * len(chart.categories)
    places = list(range(len(chart.categories)))
    for one in chart.series:
        look: dict[str, Any] = {"color": PALETTE[one.colour], "label": clean(one.name)}
        if one.markers:
            axes.plot(_numbers(one.x), places, "|", markersize=16, markeredgewidth=2, **look)
            continue
        widths = [value or 0.0 for value in one.x]
        axes.barh(places, widths, left=begins, height=0.55, alpha=0.85, **look)
        begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
    _categories(axes, chart)
    axes.set_xlim(left=0)


def _points(axes: Axes, chart: Chart) -> None:
    for place, one in enumerate(chart.series):
        colour = PALETTE[one.colour]
        xs, ys = _numbers(one.x), list(one.y)
        for x, low, high in zip(xs, one.low, one.high, strict=False):
            if low is not None and high is not None:
                axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.45)
        face = PALETTE["page"] if one.hollow else colour
        label = clean(one.name)
        axes.plot(xs, ys, _MARKERS[place % 6], color=colour, markerfacecolor=face, markersize=7, label=label)
    axes.margins(x=0.12, y=0.12)


def _categories(axes: Axes, chart: Chart) -> None:
    axes.set_yticks(range(len(chart.categories)), [clean(name) for name in chart.categories])
    axes.set_ylim(len(chart.categories) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


_DRAW = {"lines": _lines, "steps": _steps, "dots": _dots, "stacked": _stacked, "points": _points}


def clean(name: str) -> str:
    r"""A name as it is drawn: one line, printable, not too long.

    >>> clean("a\x00b\nc"), len(clean("x" * 99))
    ('a b c', 28)
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    return printable if len(printable) <= _NAME else printable[: _NAME - 1] + "…"


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
