"""95 % intervals: Wilson for proportions, a seeded bootstrap over rows for everything else.

Rows of one group (a template, a customer) resemble each other, so each says less than a row of its own would, and
intervals that take them as independent are too narrow. Where rows name their groups, whole groups are drawn
(the cluster bootstrap: Davison and Hinkley, 1997, section 3.8; Cameron, Gelbach and Miller, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

#: Two-sided 95 % quantile of the normal distribution.
Z95 = 1.959963984540054
#: Resamples of a bootstrap: the 2.5 % percentile then rests on 50 of them.
RESAMPLES = 2000
SEED = 0
#: Differing rows of which all exchanges are tried: 4096.
_EXACT = 12

#: What one row adds to a figure: (numerator, denominator). The figure is Σ numerator / Σ denominator.
Ratio = tuple[float, float]
#: The group of each row; a row without one (None) stands for itself.
Groups = Sequence[str | None]


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson score interval of a proportion (E. B. Wilson, 1927).

    >>> low, high = wilson(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def pooled(ratios: Sequence[Ratio]) -> float:
    """Σ numerator / Σ denominator; 0 where the denominators are all 0.

    >>> pooled([(1, 2), (1, 1)]) == 2 / 3
    True
    """
    below = math.fsum(ratio[1] for ratio in ratios)
    return math.fsum(ratio[0] for ratio in ratios) / below if below else 0.0


def share_interval(ratios: Sequence[Ratio], groups: Groups) -> tuple[float, float]:
    """Interval of a proportion, each row 0 or 1 of 1.

    With groups it is a bootstrap over them. That knows nothing of a share of 0 or 1, which every draw repeats; there
    it is Wilson's, with each group counted once, as if its rows said no more than one.
    """
    successes, drawn = round(sum(ratio[0] for ratio in ratios)), count_groups(groups)
    if drawn is None:
        return wilson(successes, len(ratios))
    if successes in (0, len(ratios)):
        return wilson(drawn if successes else 0, drawn)
    return bootstrap(ratios, groups)


def count_groups(groups: Groups) -> int | None:
    """How many draws the rows make, each row without a group counted as one.

    None where rows are drawn instead: no row names a group, or all are of one.

    >>> count_groups(["a", "b", "a", None, None]), count_groups([None, None])
    (4, None)
    """
    named = [group for group in groups if group is not None]
    draws = len(set(named)) + len(groups) - len(named)
    return draws if named and draws > 1 else None


def draws(groups: Groups, rows: int) -> int:
    """How many independent things so many rows say: each row or group is one, and rows all of one group are one.

    >>> draws(["a", "b", "a", None], 4), draws(["a", "a"], 2), draws([None, None], 2), draws((), 2)
    (3, 1, 2, 2)
    """
    return count_groups(groups) or (1 if set(groups) - {None} else rows)


def bootstrap(ratios: Sequence[Ratio], groups: Groups = ()) -> tuple[float, float]:
    """Percentile interval of :func:`pooled` when whole rows, or groups of rows, are drawn again with replacement."""
    drawn = _resampled(_by_group(np.asarray(ratios, dtype=np.float64)[:, None, :], groups))[:, 0]
    return _percentiles(drawn)


def paired_bootstrap(
    before: Sequence[Ratio],
    after: Sequence[Ratio],
    groups: Groups = (),
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> tuple[float, float]:
    """Percentile interval of ``pooled(after) - pooled(before)``, the same rows drawn for both.

    Args:
        before: one entry a row.
        after: the same rows in the same order.
        groups: of those rows.
        of: makes the figure of what is pooled, such as ``np.exp`` a perplexity; default: it is the figure.
    """
    both = np.stack([np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)], axis=1)
    drawn = _resampled(_by_group(both, groups))
    drawn = of(drawn) if of else drawn
    return _percentiles(drawn[:, 1] - drawn[:, 0])


def macro_bootstrap(ratios: NDArray[np.float64], groups: Groups = ()) -> tuple[float, float]:
    """Percentile interval of the mean of several figures, when whole rows, or groups of rows, are drawn again.

    Args:
        ratios: (rows, figures, 2): what each row adds to each figure.
        groups: of those rows.
    """
    return _percentiles(_resampled(_by_group(ratios, groups)).mean(axis=1))


def gain_bootstrap(ratios: NDArray[np.float64], groups: Groups = ()) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``second - first``, and ``(last - first) / (second - first)``, of resampled rows or groups: each (RESAMPLES,).

    The latter is NaN where a draw shows no gain at all.

    Args:
        ratios: (rows, 3, 2): what each row adds to the figure of the base, of the tuned model and of an export.
        groups: of those rows.
    """
    base, tuned, exported = _resampled(_by_group(ratios, groups)).T
    gain = tuned - base
    return gain, np.divide(exported - base, gain, out=np.full_like(gain, np.nan), where=gain != 0)


def paired_permutation(before: Sequence[Ratio], after: Sequence[Ratio], groups: Groups = ()) -> float:
    """Chance that :func:`pooled` differs by so much, either way, if before and after were alike: a two-sided test.

    What is alike can be exchanged within any row, or group of rows: all exchanges are tried where they are few, else
    some at random, with what was found counted among them (Phipson and Smyth, 2010). Of rows that are right or wrong it
    is McNemar's exact test. Unlike a bootstrap it stays exact for a dozen rows.

    Args:
        before: one entry a row.
        after: the same rows in the same order.
        groups: of those rows.

    >>> right, wrong = (1.0, 1.0), (0.0, 1.0)
    >>> paired_permutation([right] * 7, [right, right] + [wrong] * 5) == mcnemar(5, 0)
    True
    """
    if draws(groups, len(before)) < 2:
        return 1.0
    both = np.stack([np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)], axis=1)
    drawn = _by_group(both, groups)
    total, exchanged = drawn.sum(axis=0), drawn[:, 1] - drawn[:, 0]
    exchanged = exchanged[(exchanged != 0).any(axis=1)]  # of those that are equal nothing can be exchanged
    n = len(exchanged)
    if n <= _EXACT:
        chosen = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        chosen = np.random.default_rng(SEED).integers(2, size=(RESAMPLES, n))
        chosen[0] = 0
    moved = chosen @ exchanged
    above, below = np.stack([total[0] + moved, total[1] - moved]).T
    figures = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    apart = np.abs(figures[:, 1] - figures[:, 0])
    return float((apart >= apart[0] - 1e-12).mean())  # the first exchanges nothing: it is what was found


def _by_group(ratios: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Sum the rows of each group: (rows, subjects, 2) → (groups, subjects, 2), in order of appearance."""
    if count_groups(groups) is None:
        return ratios
    keys = [(group, -1) if group is not None else ("", row) for row, group in enumerate(groups)]
    place = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    sums = np.zeros((len(place), *ratios.shape[1:]))
    np.add.at(sums, [place[key] for key in keys], ratios)
    return sums


def _resampled(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Figures of resampled rows or groups: (rows, subjects, 2) → (RESAMPLES, subjects)."""
    generator = np.random.default_rng(SEED)
    n = len(ratios)
    figures = np.zeros((RESAMPLES, ratios.shape[1]))
    for i in range(RESAMPLES):
        above, below = ratios[generator.integers(n, size=n)].sum(axis=0).T
        np.divide(above, below, out=figures[i], where=below != 0)
    return figures


def _percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def mcnemar(only_before: int, only_after: int) -> float:
    """Two-sided exact McNemar test: chance of so uneven a split if both were equally good.

    Args:
        only_before: rows right before and wrong after.
        only_after: rows wrong before and right after.

    >>> mcnemar(0, 5)
    0.0625
    """
    n = only_before + only_after
    if n == 0:
        return 1.0
    tail: float = sum(math.comb(n, k) for k in range(min(only_before, only_after) + 1)) / 2**n
    return min(1.0, 2.0 * tail)
