"""Judging the projection on paper: each SoC projected by measurements of the others alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgetune.devices.measurements import Measurement
from edgetune.devices.projection import Fit, fit, interval, work_of


@dataclass(frozen=True)
class Outcome:
    """A measurement beside what was projected for it without its SoC. Tokens a second."""

    row: Measurement
    low: float
    middle: float
    high: float

    @property
    def error(self) -> float:
        """(projected - measured) / measured."""
        return self.middle / self.row.decode_tok_s - 1

    @property
    def covered(self) -> bool:
        """Whether the interval holds the measured figure."""
        return self.low <= self.row.decode_tok_s <= self.high


def leave_one_soc_out(rows: Sequence[Measurement]) -> list[Outcome]:
    """Project every row by a fit, interval included, that has seen no row of its SoC."""
    return [outcome(fit(tuple(other for other in rows if other.soc != row.soc)), row) for row in rows]


def outcome(found: Fit, row: Measurement) -> Outcome:
    """Project one row."""
    return Outcome(row, *interval(found, work_of(row), found.half_width))


def mean_error(outcomes: Iterable[Outcome]) -> float:
    """Mean absolute relative error."""
    errors = [abs(one.error) for one in outcomes]
    return math.fsum(errors) / len(errors)


def coverage(outcomes: Iterable[Outcome]) -> float:
    """Share of rows whose interval holds them."""
    held = [one.covered for one in outcomes]
    return sum(held) / len(held)
