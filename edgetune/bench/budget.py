"""The memory budget of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.bench.schema import Figure, Settings


def beyond_budget(settings: Settings, found: Sequence[Figure]) -> float | None:
    """MB by which the peak is above the budget, negative where it keeps it; None where one of them is not known."""
    peak = next((figure.median for figure in found if figure.name == "peak_rss"), None)
    return None if settings.memory_budget_mb is None or peak is None else peak - settings.memory_budget_mb
