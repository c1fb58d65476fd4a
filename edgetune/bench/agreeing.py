"""Whether what was stored agrees with what is derived again."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgetune.bench.objective import Verdict

#: How far numbers may be apart that two machines derived from the same samples.
_ROUNDING = 1e-6


def verdict_apart(stored: Verdict, again: Verdict) -> Iterator[str]:
    """In words, how a verdict differs from the one that its samples give; nothing where it does not."""
    same = stored.outcome == again.outcome and stored.samples == again.samples
    if not (same and alike(stored.value, again.value) and alike(stored.beyond, again.beyond)):
        yield (
            f"{stored.objective.text}: {stored.outcome} ({shown(stored.value)}) is stored, "
            f"its samples say {again.outcome} ({shown(again.value)})"
        )


def alike(before: float | None, after: float | None) -> bool:
    """Whether two numbers are one but for rounding, or both are not there.

    >>> alike(0.1 + 0.2, 0.3), alike(1.0, 1.001), alike(None, 0.0)
    (True, False, False)
    """
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def shown(value: float | None) -> str:
    """A number with as many digits as tell it from another."""
    return "none" if value is None else f"{value:.6g}"
