"""A stored benchmark as the report reads it: figures by name, and parts that not every benchmark has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgetune.bench.objective import Verdict
from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.statistics import median
from edgetune.report.cells import short
from edgetune.targets.units import factor


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of one artifact.

    Attributes:
        report: as stored.
    """

    report: BenchReport

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Figures of the benchmark itself, without those of its sweeps."""
        return tuple(figure for figure in self.report.figures if figure.place is None)

    def find(self, name: str) -> Figure | None:
        """The figure of that name, or None."""
        return self.report.find(name)

    @cached_property
    def swept(self) -> dict[str, dict[str, list[tuple[str, Figure]]]]:
        """What was varied → metric → (value, figure), in the order measured: of ``decode@depth=512`` and its like."""
        found: dict[str, dict[str, list[tuple[str, Figure]]]] = {}
        for figure in self.report.figures:
            if figure.place is not None:
                axis, value = figure.place
                found.setdefault(axis, {}).setdefault(figure.metric, []).append((value, figure))
        return found

    def memory(self, name: str) -> float | None:
        """A part of the memory in bytes, median over the processes that were looked at; None where nobody knows."""
        values = [getattr(sample, name) for sample in self.report.memory]
        known = [value for value in values if value is not None]
        return median(known) if known else None

    @property
    def budget_mb(self) -> float | None:
        """What the process may hold at most: as the benchmark was told, or as its target says."""
        told = self.report.settings.memory_budget_mb
        if told is not None:
            return told
        limits = [one.objective for one in self.verdicts if one.objective.metric == "peak_rss"]
        scales = [(one.at_most, factor(one.unit or "MB", "MB")) for one in limits]
        return min((most * scale for most, scale in scales if most is not None and scale is not None), default=None)

    @property
    def target(self) -> str | None:
        """The name of what it was held to."""
        return self.report.target

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """How the target's objectives came out."""
        return self.report.verdicts

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
        others = {
            "prefill threads": settings.prefill_threads,
            "kv type": settings.kv_type,
            "batch": settings.batch,
            "context": settings.context,
        }
        return found | {name: str(value) for name, value in others.items() if value is not None}


def find_figure(bench: Benchmark | None, name: str) -> Figure | None:
    """A figure of a benchmark by name, if both are there."""
    return bench.find(name) if bench else None


def by_how_much(verdict: Verdict) -> str:
    """By how much an objective is met or missed, in words; or why it is not judged."""
    objective, beyond = verdict.objective, verdict.beyond
    if verdict.value is None or beyond is None:
        return verdict.reason or "not judged"
    share = f" ({abs(beyond / objective.limit):.0%})" if objective.limit else ""
    wrong = "too much" if objective.at_most is not None else "too little"
    side = wrong if verdict.outcome == "missed" else "to spare"
    return f"{short(abs(beyond))} {objective.unit or ''}".rstrip() + f"{share} {side}"
