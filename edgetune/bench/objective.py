"""What a benchmark can be held to, and how that came out. Plain data: judging is in :mod:`edgetune.targets.judging`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: ``share`` is of metrics that are a share themselves, such as deadline_miss.
Statistic = Literal["median", "p50", "p90", "p95", "p99", "max", "share"]
Outcome = Literal["met", "missed", "not judged"]


class Objective(BaseModel):
    """One limit on one statistic of one metric."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    metric: str
    """Name of a figure, such as ttft, itl, first_clause, frame, decode or peak_rss: docs/reference/metrics.md."""
    statistic: Statistic = "median"
    """Of the metric's samples. p90, p95 and p99 need 29, 59 and 299 of them."""
    at_most: float | None = Field(default=None, ge=0)
    """The statistic may not be larger."""
    at_least: float | None = Field(default=None, ge=0)
    """The statistic may not be smaller."""
    unit: str | None = None
    """Of the limit: ms, s, MB, GB, tokens/s, requests/s, frames/s, inputs/s or share; default: the metric's own."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective has exactly one limit: at_most or at_least")
        return self

    @property
    def limit(self) -> float:
        """The number that must be kept."""
        found = self.at_most if self.at_most is not None else self.at_least
        assert found is not None, "validated"
        return found

    @property
    def percent(self) -> float | None:
        """95 of ``p95``; None for statistics that are no percentile. A median needs no floor."""
        return float(self.statistic[1:]) if self.statistic in ("p90", "p95", "p99") else None

    @property
    def text(self) -> str:
        """``first_clause p95 ≤ 300 ms``."""
        sign = "≤" if self.at_most is not None else "≥"
        return " ".join(filter(None, [self.metric, self.statistic, sign, f"{self.limit:g}", self.unit]))


class Verdict(BaseModel):
    """How one objective came out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Objective
    outcome: Outcome
    value: float | None
    """The measured statistic, in the objective's unit; None where there is none."""
    beyond: float | None = None
    """How far the value is on the wrong side of the limit (positive: missed), in the objective's unit."""
    samples: int = 0
    measured_as: str | None = None
    """How the samples were taken: ``closed loop``, ``open loop at 2 requests/s``, ``benchmark``."""
    reason: str | None = None
    """Why it is not judged."""

    @property
    def text(self) -> str:
        """``missed  first_clause p95 ≤ 300 ms: 352 ms, 52.0 ms (17%) too much``."""
        head = f"{self.outcome:<10}  {self.objective.text}"
        if self.value is None or self.beyond is None:
            return f"{head}: {self.reason}"
        unit = self.objective.unit or ""
        found = f"{head}: {_short(self.value)} {unit}".rstrip()
        if self.outcome == "missed":
            side = "too much" if self.objective.at_most is not None else "too little"
            found += f", {_short(self.beyond)} {unit}".rstrip() + f"{self._share} {side}"
        return f"{found}  ({self.samples} samples, {self.measured_as})" if self.measured_as else found

    @property
    def _share(self) -> str:
        limit = abs(self.objective.limit)
        return f" ({(self.beyond or 0) / limit:.0%})" if limit else ""


def _short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
