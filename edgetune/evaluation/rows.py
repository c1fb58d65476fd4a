"""Which rows of a file are evaluated."""

from __future__ import annotations

from random import Random


def choose_rows(count: int, limit: int | None, seed: int) -> tuple[int, ...]:
    """Indexes of at most ``limit`` rows, in file order. A smaller limit gives a subset of a larger one's.

    >>> set(choose_rows(100, 5, seed=1)) < set(choose_rows(100, 9, seed=1))
    True
    """
    order = list(range(count))
    if limit is not None and limit < count:
        Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    return tuple(sorted(order[:limit]))
