"""Statistics that say no more than the samples do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Chance that a reported percentile is below the true one, at most.
RISK = 0.05
#: A spread of a tenth of the median or more earns a warning.
NOISY = 0.10
RESAMPLES = 2000


@dataclass(frozen=True)
class Percentile:
    """A percentile, or the reason why there are too few samples for one."""

    value: float | None
    reason: str | None = None


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle.

    >>> median([3.0, 1.0, 10.0])
    3.0
    """
    return float(np.median(samples))


def mad(samples: Sequence[float]) -> float:
    """Median absolute deviation from the median, unscaled.

    >>> mad([1.0, 2.0, 4.0, 9.0])
    1.5
    """
    values = np.asarray(samples, dtype=np.float64)
    return float(np.median(np.abs(values - np.median(values))))


def floor(percent: float) -> int:
    """Fewest samples for a percentile: the largest of n lies above it with a chance of at least 95 %.

    That chance is 1 - qⁿ for the quantile q, so n ≥ ln 0.05 / ln q.

    >>> floor(90), floor(95), floor(99)
    (29, 59, 299)
    """
    return math.ceil(math.log(RISK) / math.log(percent / 100))


def percentile(samples: Sequence[float], percent: float) -> Percentile:
    """A percentile with linear interpolation between samples, if there are enough.

    >>> percentile([float(n) for n in range(101)], 90).value
    90.0
    >>> percentile([1.0, 2.0], 90)
    Percentile(value=None, reason='2 samples; p90 needs 29')
    """
    needed = floor(percent)
    if len(samples) < needed:
        return Percentile(None, f"{len(samples)} samples; p{percent:g} needs {needed}")
    return Percentile(float(np.percentile(samples, percent)))


def median_interval(samples: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the median by a seeded bootstrap (Efron, 1979); None below three samples.

    >>> low, high = median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> 1.0 <= low < 3.0 < high <= 5.0
    True
    """
    if len(samples) < 3:
        return None
    values = np.asarray(samples, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[drawn], axis=1), [2.5, 97.5])
    return float(low), float(high)
