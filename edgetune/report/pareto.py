"""Which artifacts no other one beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One artifact.

    Attributes:
        name: of it.
        costs: axis → value; less is better.
    """

    name: str
    costs: Mapping[str, float]


def dominators(points: Sequence[Point]) -> dict[str, str | None]:
    """Each point's name → the first point that is no worse on any axis and better on one; None: it is on the front.

    >>> front = dominators([Point("a", {"size": 1, "loss": 2}), Point("b", {"size": 2, "loss": 2})])
    >>> front
    {'a': None, 'b': 'a'}

    Raises:
        ValueError: the points have different axes.
    """
    if len({frozenset(point.costs) for point in points}) > 1:
        raise ValueError("points of a front need the same axes")
    return {point.name: next((other.name for other in points if _beats(other, point)), None) for point in points}


def _beats(one: Point, other: Point) -> bool:
    pairs = [(one.costs[axis], other.costs[axis]) for axis in one.costs]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
