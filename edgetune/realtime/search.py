"""The highest rate of random requests that still meets every objective."""

from __future__ import annotations

from collections.abc import Callable

from edgetune.bench.realtime_section import RateSearch

#: The search ends when the lowest rate that missed is at most this much above the highest that met.
RESOLUTION = 0.10
#: Of what one request after another achieves: nearer to it a queue needs very long to show that it grows.
UTILISATION = 0.95


def highest_rate(
    measure: Callable[[float], bool | None], predicted: float, ceiling: float, affordable: Callable[[float], bool]
) -> RateSearch:
    """Measure at the predicted rate, then step up or down, then bisect.

    Args:
        measure: measures at a rate and says whether every objective was met; None: it could not be judged.
        predicted: where to begin.
        ceiling: no rate above this is measured: a queue would grow without end.
        affordable: whether there is time to measure at a rate.
    """
    low, high, step = 0.0, None, 1 + RESOLUTION
    rate = min(predicted, ceiling) or ceiling / 2

    def found(ended: str) -> RateSearch:
        return RateSearch(highest_met=low or None, lowest_missed=high, predicted=predicted, ended=ended)

    while True:
        if not affordable(rate):
            return found(f"no time left to measure at {rate:.3g} requests/s")
        met = measure(rate)
        if met is None:
            return found(f"it could not be judged at {rate:.3g} requests/s")
        if met:
            low = rate
        else:
            high = rate
        if met and rate >= ceiling:
            share = f"{UTILISATION:.0%}"
            return found(f"at {share} of what one request after another achieves; beyond, a queue grows without end")
        if high is not None and low and high <= low * (1 + RESOLUTION) * (1 + 1e-9):
            return found(f"within {RESOLUTION:.0%}")
        if high is not None and low:
            rate = (low * high) ** 0.5
        else:
            rate, step = (min(rate * step, ceiling) if met else rate / step), step**2
        if rate < ceiling / 1000:
            return found("a thousandth of what one request after another achieves misses them")
