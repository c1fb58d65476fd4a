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
#: Rounds from which an interval is given.
FEWEST_ROUNDS = 3
#: How well the drift of whole runs is known, in degrees of freedom: assumed.
DRIFT_FREEDOM = 20


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


def rounds_interval(rounds: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float] | None:
    """Interval of the median of all samples; None below three rounds. What it is worth: :func:`coverage`.

    By a seeded bootstrap (Efron, 1979) that draws whole rounds again, from the 2.5th to the 97.5th percentile.

    Samples of one process are alike, so drawing single samples would give an interval that is far too narrow.

    >>> rounds_interval([[1.0], [2.0]]) is None
    True
    """
    if len(rounds) < FEWEST_ROUNDS:
        return None
    arrays = [np.asarray(some, dtype=np.float64) for some in rounds]
    drawn = np.random.default_rng(seed).integers(len(arrays), size=(RESAMPLES, len(arrays)))
    medians = [np.median(np.concatenate([arrays[index] for index in indexes])) for indexes in np.unique(drawn, axis=0)]
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    low, high = np.percentile(np.repeat(medians, counts), [2.5, 97.5])
    return float(low), float(high)


def coverage(rounds: int) -> float:
    """Chance, at most, that an interval over so many rounds holds the median: 0.95 where they are enough for it.

    Nothing that is drawn from rounds lies beyond the lowest and the highest of them, and one of n values lies above the
    median and one below it with a chance of 1 - 2 · ½ⁿ.

    >>> coverage(3), coverage(5), coverage(6)
    (0.75, 0.9375, 0.95)
    """
    return min(1 - RISK, 1 - 2 * 0.5**rounds)


def mean_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean; None below three samples, which say nothing of how they vary.

    For a few independent repetitions, such as trainings from several seeds.

    >>> [round(side, 2) for side in mean_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    >>> mean_interval([1.0, 2.0]) is None
    True
    """
    if len(samples) < FEWEST_ROUNDS:
        return None
    values = np.asarray(samples, dtype=np.float64)
    reach = student(0.975, len(values) - 1.0) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - reach, float(values.mean()) + reach


@dataclass(frozen=True)
class Ratio:
    """One thing over another, with an interval."""

    value: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 1 out."""
        return self.low > 1 or self.high < 1


def ratio(
    old: Sequence[float], new: Sequence[float], *, paired: bool, confidence: float = 0.95, drift: float = 0.0
) -> Ratio:
    """New over old by the mean of the logarithms of rounds, with Student's interval.

    Rounds are few and are what varies by itself, so neither single tokens nor a bootstrap over five values would
    do: both give intervals that are too narrow. Paired: round by round; else Welch's interval for two samples.

    Args:
        old: a value of each round, all above 0.
        new: the same.
        paired: the rounds were measured in turns.
        confidence: of the interval.
        drift: standard deviation of the logarithm by which each run moves as a whole; for unpaired ones.

    >>> ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], paired=True)
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    before, after = np.log(np.asarray(old)), np.log(np.asarray(new))
    if paired:
        gains = after - before
        centre, error, freedom = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains)), len(gains) - 1.0
    else:
        one, two = before.var(ddof=1) / len(before), after.var(ddof=1) / len(after)
        whole = one + two + 2 * drift**2
        centre, error = float(after.mean() - before.mean()), math.sqrt(whole)
        parts = one**2 / (len(before) - 1) + two**2 / (len(after) - 1) + (2 * drift**2) ** 2 / DRIFT_FREEDOM
        freedom = float(whole**2 / parts) if parts > 0 else 1.0
    reach = student(0.5 + confidence / 2, freedom) * error if error > 0 else 0.0
    return Ratio(_exp(centre), _exp(centre - reach), _exp(centre + reach))


def student(quantile: float, freedom: float) -> float:
    """Quantile above one half of Student's t distribution, by its density in t = √n tan θ: cos^(n-1) θ.

    >>> round(student(0.975, 8), 3), round(student(0.975, 2), 3)
    (2.306, 4.303)
    """
    angles = np.linspace(0.0, np.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(quantile - 0.5, area / area[-1] / 2, angles))
    return math.sqrt(freedom) * math.tan(angle)


def _exp(value: float) -> float:
    """Rounded where floating point would show: exp(log 2) is not quite 2."""
    return float(np.round(np.exp(value), 12))
