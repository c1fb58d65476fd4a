"""Which benchmarks were made alike, so that their figures may stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgetune.report.evidence import Shipped


def alike(shipped: Sequence[Shipped]) -> tuple[list[Shipped], list[str]]:
    """The largest set of artifacts that were measured alike, and how each other one was not."""
    measured = [(one, tuple(one.bench.conditions.items())) for one in shipped if one.bench]
    if not measured:
        return [], []
    wanted = Counter(key for _, key in measured).most_common(1)[0][0]
    notes = []
    for one, key in measured:
        if key != wanted:
            other = dict(wanted)
            differing = [
                f"{name} {value} instead of {other.get(name, 'unknown')}"
                for name, value in key
                if value != other.get(name)
            ]
            notes.append(f"{one.label} was measured otherwise and is not compared: {', '.join(differing)}")
    return [one for one, key in measured if key == wanted], notes
