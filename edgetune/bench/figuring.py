"""One figure from its samples: median, spread, interval, percentiles, and the reasons for what there is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

from edgetune.bench.definitions import Definition
from edgetune.bench.schema import Figure
from edgetune.bench.statistics import FEWEST_ROUNDS, RISK, coverage, mad, median, percentile, rounds_interval

PERCENTILES = (90, 95, 99)
_SCALE = {"s": 1.0, "ms": 1e3, "MB": 1e-6, "%": 100.0}
#: Values, each with the round it is of.
Values = list[tuple[int, float]]


def gaps_of(token_s: Sequence[float]) -> list[float]:
    """Seconds between consecutive tokens."""
    return [after - before for before, after in pairwise(token_s)]


def filled(definition: Definition, words: Mapping[str, object]) -> Definition:
    """A definition with what was measured put into its text."""
    return replace(definition, text=definition.text.format(**words))


def scaled(name: str, known: Definition, samples: Values, absent: str | None = None) -> Figure:
    """A figure of samples in seconds and bytes."""
    scale = _SCALE.get(known.unit, 1.0)
    return figure(name, known, [(number, value * scale) for number, value in samples], absent)


def figure(name: str, known: Definition, samples: Values, absent: str | None = None) -> Figure:
    """A figure of samples in its own unit, each with the round that it is of.

    Args:
        name: of the figure.
        known: what it is.
        samples: rounds and values; an interval needs three rounds, as samples of one process are alike.
        absent: why there are no samples, where there are none.
    """
    plain: dict[str, Any] = {"name": name, "unit": known.unit, "definition": known.text, "better": known.better}
    if not samples:
        return Figure(**plain, median=None, samples=0, reasons={"median": absent or "no answer was long enough"})
    ordered = sorted(samples, key=lambda pair: pair[0])
    rounds = [[value for _, value in some] for _, some in groupby(ordered, key=lambda pair: pair[0])]
    values = [value for some in rounds for value in some]
    wanted = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES} if known.tail else {}
    reasons = {key: found.reason for key, found in wanted.items() if found.reason}
    interval = rounds_interval(rounds)
    if interval is None:
        reasons["interval"] = f"{len(rounds)} round{'s' if len(rounds) > 1 else ''}; an interval needs {FEWEST_ROUNDS}"
    return Figure(
        **plain,
        median=median(values),
        mad=mad(values) if len(values) > 1 else None,
        interval=interval,
        samples=len(values),
        rounds=tuple(median(some) for some in rounds),
        percentiles={key: found.value for key, found in wanted.items()},
        reasons=reasons,
    )


def interval_note(figures: Iterable[Figure]) -> str:
    """What the intervals of these figures are: of few rounds one of 95 % cannot be had, however it is made."""
    counts = {len(one.rounds) for one in figures if one.interval and one.rounds}
    enough = [count for count in counts if coverage(count) >= 1 - RISK]
    parts = [f"{coverage(count):.0%} of {count} rounds" for count in sorted(counts.difference(enough))]
    if not parts:
        return "the 95 % interval of the median: a bootstrap that draws whole rounds again"
    parts += [f"95% of {min(enough)} rounds or more"] if enough else []
    return (
        "an interval of the median: a bootstrap that draws whole rounds again, and so stays within their range; it "
        f"holds the median with a chance of at most {', '.join(parts)}"
    )
