"""A stored benchmark as the report reads it: figures by name, and parts that not every benchmark has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from edgetune.bench.schema import BenchReport, Figure
from edgetune.report.cells import short

Outcome = Literal["met", "missed", "not judged"]
_MEMORY = ("anonymous", "file_backed", "pss", "python_only")


@dataclass(frozen=True)
class Verdict:
    """How one objective of a target came out.

    Attributes:
        objective: ``first_clause p95 ≤ 300 ms``.
        metric: of it.
        value: as measured, in the objective's unit.
        beyond: how far the value is on the wrong side of the limit; negative: so much is left.
        limit, unit: of the objective.
        samples: that it rests on.
        how: how they were taken.
        reason: why it is not judged.
        limited: ``at most`` or ``at least``.
    """

    objective: str
    metric: str
    outcome: Outcome
    value: float | None
    beyond: float | None
    limit: float
    unit: str
    samples: int
    how: str
    reason: str
    limited: Literal["at most", "at least"]

    @property
    def by(self) -> str:
        """By how much, in words."""
        if self.value is None or self.beyond is None:
            return self.reason or "not judged"
        share = f" ({abs(self.beyond / self.limit):.0%})" if self.limit else ""
        much, little = ("too much", "to spare") if self.limited == "at most" else ("too little", "to spare")
        return f"{short(abs(self.beyond))} {self.unit}{share} {much if self.outcome == 'missed' else little}"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of one artifact.

    Attributes:
        report: as stored.
    """

    report: BenchReport

    @cached_property
    def _plain(self) -> Mapping[str, Any]:
        """As JSON: sections that the schema grew later are looked up here, and may be absent."""
        return self.report.model_dump(mode="json")

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Figures of the benchmark itself, without those of its sweeps."""
        return tuple(figure for figure in self.report.figures if "@" not in figure.name)

    def find(self, name: str) -> Figure | None:
        """The figure of that name, or None."""
        return next((figure for figure in self.report.figures if figure.name == name), None)

    @cached_property
    def swept(self) -> dict[str, dict[str, list[tuple[str, Figure]]]]:
        """What was varied → metric → (value, figure), in the order measured: of ``decode@depth=512`` and its like."""
        found: dict[str, dict[str, list[tuple[str, Figure]]]] = {}
        for figure in self.report.figures:
            metric, at, place = figure.name.partition("@")
            axis, _, value = place.partition("=")
            if at:
                found.setdefault(axis, {}).setdefault(metric, []).append((value, figure))
        return found

    def memory(self, name: str) -> float | None:
        """A part of the memory in bytes, median over the processes that were looked at; None where nobody knows."""
        found = self._plain["memory"]
        samples: Sequence[Mapping[str, Any]] = [found] if isinstance(found, Mapping) else found
        values = sorted(sample[name] for sample in samples if sample.get(name) is not None)
        return float(values[len(values) // 2]) if values else None

    @property
    def budget_mb(self) -> float | None:
        """What the process may hold at most: as the benchmark was told, or as its target says."""
        told = self._plain["settings"].get("memory_budget_mb")
        limits = [one.limit for one in self.verdicts if (one.metric, one.unit) == ("peak_rss", "MB")]
        return told if told is not None else min(limits, default=None)

    @property
    def target(self) -> str | None:
        """The name of what it was held to."""
        name: str | None = self._plain.get("target")
        return name

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """How the target's objectives came out."""
        return tuple(_verdict(one) for one in self._plain.get("verdicts", ()))

    @property
    def search(self) -> Mapping[str, Any] | None:
        """The search for the highest rate that meets the objectives, where there was one."""
        section = self._plain.get("realtime") or {}
        found: Mapping[str, Any] | None = section.get("search")
        return found

    @property
    def conditions(self) -> dict[str, str]:
        """What has to be equal before two benchmarks may stand side by side."""
        settings, machine = self.report.settings, self.report.environment
        found = {
            "processor": machine.cpu,
            "CPUs": str(machine.usable_cpus),
            "threads": str(settings.threads),
            "prompts": f"{settings.prompts} ({settings.prompt_source})",
            "longest answer": str(settings.new_tokens),
            "scenario": self.report.scenario,
        }
        others = ("prefill_threads", "kv_type", "batch", "context")
        told = {name.replace("_", " "): self._plain["settings"].get(name) for name in others}
        return found | {name: str(value) for name, value in told.items() if value is not None}


def find_figure(bench: Benchmark | None, name: str) -> Figure | None:
    """A figure of a benchmark by name, if both are there."""
    return bench.find(name) if bench else None


def _verdict(found: Mapping[str, Any]) -> Verdict:
    objective = found["objective"]
    most = objective["at_most"] is not None
    limit = float(objective["at_most"] if most else objective["at_least"])
    unit = objective["unit"] or ""
    words = (objective["metric"], objective["statistic"], "≤" if most else "≥", f"{limit:g}", unit)
    return Verdict(
        objective=" ".join(word for word in words if word),
        metric=objective["metric"],
        outcome=found["outcome"],
        value=found["value"],
        beyond=found["beyond"],
        limit=limit,
        unit=unit,
        samples=found["samples"],
        how=found["measured_as"] or "",
        reason=found["reason"] or "",
        limited="at most" if most else "at least",
    )
