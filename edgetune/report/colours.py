"""Which colour an artifact has, the same in every chart."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.report.evidence import Shipped

#: Names of colours; the page says what they are, in light and in dark.
CYCLE = ("c1", "c2", "c3", "c4", "c5", "c6")


def colour_of(one: Shipped, everyone: Sequence[Shipped]) -> str:
    """Its colour, by its place among all artifacts."""
    return CYCLE[[other.label for other in everyone].index(one.label) % len(CYCLE)]
