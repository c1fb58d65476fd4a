"""How long rows are: quantiles and a histogram with round bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["tokens", "characters", "pixels"]

#: About this many bars make a histogram.
BARS = 12


@dataclass(frozen=True)
class Lengths:
    """Lengths of rows.

    Attributes:
        unit: tokens where a tokenizer was given; pixels of an image's longer side.
        minimum: the shortest row.
        median: half the rows are no longer.
        p90: nine in ten rows are no longer.
        p99: 99 in a hundred rows are no longer.
        maximum: the longest row.
        bins: (from, below, rows) in order; the bounds are round numbers.
    """

    unit: Unit
    minimum: int
    median: int
    p90: int
    p99: int
    maximum: int
    bins: tuple[tuple[int, int, int], ...]


def measure(lengths: Sequence[int], unit: Unit) -> Lengths | None:
    """Describe lengths; None where there are none."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    return Lengths(
        unit,
        ordered[0],
        quantile(ordered, 0.5),
        quantile(ordered, 0.9),
        quantile(ordered, 0.99),
        ordered[-1],
        _bins(ordered),
    )


def quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest of the sorted lengths that at least ``share`` of them do not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _bins(ordered: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    step = _round_step(ordered[-1] - ordered[0] + 1)
    start = ordered[0] - ordered[0] % step
    counts = [0] * ((ordered[-1] - start) // step + 1)
    for length in ordered:
        counts[(length - start) // step] += 1
    return tuple((start + i * step, start + (i + 1) * step, count) for i, count in enumerate(counts))


def _round_step(span: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that cuts ``span`` into at most ``BARS`` parts."""
    magnitude = 1
    while True:
        for factor in (1, 2, 5):
            if factor * magnitude * BARS >= span:
                return factor * magnitude
        magnitude *= 10
