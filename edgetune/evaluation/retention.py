"""How much of what training gained is left after an export: (export - base) / (tuned - base)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetune.evaluation.intervals import count_groups, gain_bootstrap, paired_permutation, pooled
from edgetune.evaluation.record import Evaluation


@dataclass(frozen=True)
class Retention:
    """Of one figure, on the rows that all three were evaluated on.

    Attributes:
        name: of the figure.
        base, tuned, exported: the figure itself.
        rows: that it rests on.
        value: the share left; None where training gained nothing, or so little that it can be chance.
        low, high: 95 % interval, from a bootstrap over rows, or groups of alike rows. Where the export and the trained
            model agree on every row, drawing rows again shows nothing, and ``low`` is the exact one-sided bound.
        p_value: chance that the export is so far from the trained model if both are as good (two-sided); exact for a
            dozen rows too, where the interval is too narrow.
    """

    name: str
    base: float
    tuned: float
    exported: float
    rows: int
    value: float | None
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0


def retention(
    base: Evaluation, tuned: Evaluation, exported: Evaluation, name: str, *, lower_is_better: bool = False
) -> Retention:
    """The share of the gain in ``name`` that an export keeps."""
    three = (base, tuned, exported)
    sides = [{answer.row: answer for answer in side.answers if name in answer.ratios} for side in three]
    rows = [row for row in sides[2] if row in sides[0] and row in sides[1]]
    ratios = np.asarray([[side[row].ratios[name] for side in sides] for row in rows], dtype=np.float64)
    if not rows:
        return Retention(name, 0.0, 0.0, 0.0, 0, None)
    before, trained, after = (pooled([(a, b) for a, b in ratios[:, place]]) for place in range(len(sides)))
    groups = [sides[2][row].group for row in rows]
    gains, shares = gain_bootstrap(ratios, groups)
    if np.percentile(-gains if lower_is_better else gains, 2.5) <= 0:
        return Retention(name, before, trained, after, len(rows), None)
    low, high = np.nanpercentile(shares, [2.5, 97.5])
    if not lower_is_better and (unseen := _unseen_loss(ratios, groups)) is not None:
        low = min(low, 1 - unseen / abs(trained - before))
    share = (after - before) / (trained - before)
    own, theirs = ([(float(a), float(b)) for a, b in ratios[:, place]] for place in (1, 2))
    chance = paired_permutation(own, theirs, groups)
    return Retention(name, before, trained, after, len(rows), share, float(low), float(high), chance)


def _unseen_loss(ratios: NDArray[np.float64], groups: Sequence[str | None]) -> float | None:
    """By how much the figure could fall though trained model and export agree on every row; None: they do not agree.

    A share of rows p passes unseen by n independent ones with a chance of (1 - p)^n: what leaves 5 % is the exact
    one-sided bound (the "rule of three"). It holds for figures of 0 to 1 in which all rows weigh the same.
    """
    trained, exported = ratios[:, 1], ratios[:, 2]
    weights = ratios[:, 1:, 1]
    bounded = np.ptp(weights) == 0 and bool((ratios[:, 1:, 0] <= weights).all()) and bool((ratios[:, 1:, 0] >= 0).all())
    if not bounded or not np.array_equal(trained, exported):
        return None
    return float(1 - 0.05 ** (1 / (count_groups(groups) or len(ratios))))
