"""When requests come that nobody coordinates."""

from __future__ import annotations

import numpy as np


def poisson(rate: float, count: int, seed: int) -> list[float]:
    """Seconds from the start of each of ``count`` requests: a Poisson process of ``rate`` a second.

    One seed gives one pattern that a higher rate only compresses, so that waiting grows with the rate and a search
    for the highest one is not led astray by luck.

    >>> slow, fast = poisson(1.0, 3, seed=0), poisson(2.0, 3, seed=0)
    >>> [round(a / b, 9) for a, b in zip(slow, fast)]
    [2.0, 2.0, 2.0]
    """
    gaps = np.random.default_rng(seed).exponential(1.0, count)
    return [float(moment) for moment in np.cumsum(gaps) / rate]


def steady(rate: float, count: int) -> list[float]:
    """Seconds from the start of each of ``count`` frames of a camera.

    >>> steady(4.0, 3)
    [0.0, 0.25, 0.5]
    """
    return [index / rate for index in range(count)]
