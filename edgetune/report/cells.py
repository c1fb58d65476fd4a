"""Numbers as cells: what people read, and the number itself."""

from __future__ import annotations

from edgetune.bench.schema import Figure
from edgetune.evaluation.metrics import Score
from edgetune.report.record import Cell, Tone

#: Between a number and its unit, so that they stay on one line.
NARROW = "\u202f"
#: In a place without a figure.
NOTHING = "\u2013"


def short(value: float) -> str:
    """Three significant digits, without an exponent where one can do without.

    >>> [short(value) for value in (1234.5, 12.345, 0.012345, 0.0000123, 0)]
    ['1234', '12.3', '0.0123', '1.23e-05', '0']
    >>> short(0.55), short(72.0)
    ('0.550', '72.0')
    """
    return f"{value:.0f}" if abs(value) >= 100 or value == 0 else f"{value:#.3g}"


def score_number(value: float) -> str:
    """A score: three decimals, or three digits where it is large.

    >>> score_number(0.91234), score_number(48.25)
    ('0.912', '48.2')
    """
    return f"{value:.3f}" if abs(value) < 10 else short(value)


def percent(value: float) -> str:
    """A share in percent.

    >>> percent(0.9934)
    '99.3\u202f%'
    """
    return f"{100 * value:.3g}{NARROW}%" if abs(value) < 9.995 else f"{100 * value:.0f}{NARROW}%"


def megabytes(size: float) -> str:
    """Bytes as megabytes (10⁶).

    >>> megabytes(144811456)
    '145\u202fMB'
    """
    return f"{short(size / 1e6)}{NARROW}MB"


def text_cell(text: str, tone: Tone = "") -> Cell:
    """Words alone."""
    return Cell(text=text, tone=tone)


def absent(reason: str) -> Cell:
    """A place without a figure, and why."""
    return Cell(text=NOTHING, reason=reason, tone="quiet")


def number_cell(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    reason: str = "not measured",
    shown: str | None = None,
) -> Cell:
    """A number with its interval, where it has one."""
    if value is None:
        return absent(reason)
    interval = f" [{short(low)}, {short(high)}]" if low is not None and high is not None else ""
    return Cell(text=(shown or short(value)) + interval, value=value, low=low, high=high)


def score_cell(score: Score | None, reason: str = "not evaluated") -> Cell:
    """A score with its interval."""
    if score is None:
        return absent(reason)
    text = f"{score_number(score.value)} [{score_number(score.low)}, {score_number(score.high)}]"
    return Cell(text=text, value=score.value, low=score.low, high=score.high)


def share_cell(value: float | None, low: float, high: float, reason: str) -> Cell:
    """A share with its interval, in percent."""
    if value is None:
        return absent(reason)
    return Cell(text=f"{percent(value)} [{percent(low)}, {percent(high)}]", value=value, low=low, high=high)


def figure_cell(figure: Figure | None, reason: str = "not benchmarked") -> Cell:
    """The median of a benchmark's figure with its interval."""
    if figure is None:
        return absent(reason)
    low, high = figure.interval or (None, None)
    return number_cell(figure.median, low, high, reason=figure.reasons.get("median", reason))


def percentile_cell(figure: Figure, name: str) -> Cell:
    """A percentile, or why there is none."""
    value = figure.percentiles.get(name)
    return number_cell(value, reason=figure.reasons.get(name, "not computed"))
