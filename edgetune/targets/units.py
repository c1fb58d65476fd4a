"""Units that limits may be written in."""

from __future__ import annotations

#: Unit → what it measures, and how many of the smallest it is.
UNITS: dict[str, tuple[str, float]] = {
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "MB": ("size", 1e6),
    "GB": ("size", 1e9),
    "tokens/s": ("speed", 1.0),
    "requests/s": ("rate", 1.0),
    "frames/s": ("frames", 1.0),
    "inputs/s": ("inputs", 1.0),
    "share": ("share", 1.0),
    "%": ("share", 0.01),
}


def factor(have: str, want: str) -> float | None:
    """What turns a number in one unit into the other; None where they measure different things.

    >>> factor("s", "ms"), factor("MB", "ms")
    (1000.0, None)
    """
    if have == want:
        return 1.0
    if have not in UNITS or want not in UNITS or UNITS[have][0] != UNITS[want][0]:
        return None
    return UNITS[have][1] / UNITS[want][1]
