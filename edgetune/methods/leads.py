"""By how much one method is better than another, less what exporting certainly took of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgetune.methods.summing import Summary


@dataclass(frozen=True)
class Lead:
    """In the unit of the task's figure; above zero, the first method is better.

    Attributes:
        value: of the means.
        low, high: as bad and as good as intervals allow: over the seeds, over the held-out rows, and of what was taken.
    """

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether it leaves zero out."""
        return self.low > 0 or self.high < 0


def lead(one: Summary, other: Summary) -> Lead | None:
    """How two methods of one comparison stand to each other; None: they have no seed in common."""
    pair = one.comparison.pair(one.method, other.method)
    if pair is None:
        return None
    low, high = (-math.inf, math.inf) if pair.low is None or pair.high is None else (pair.low, pair.high)
    sign = -1 if one.comparison.lower_is_better else 1
    ends = [sign * end for end in (low, high, pair.row_low, pair.row_high)]
    own, others = one.lost_on_export, other.lost_on_export
    return Lead(
        sign * pair.value - own.value + others.value,
        min(ends) - own.below + others.above,
        max(ends) - own.above + others.below,
    )
