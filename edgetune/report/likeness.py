"""Which benchmarks were made alike, so that their figures may stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgetune.bench.schema import BenchReport, Figure
from edgetune.report.evidence import Shipped


def find_figure(report: BenchReport | None, name: str) -> Figure | None:
    """A figure of a benchmark by name, if both are there."""
    return next((figure for figure in report.figures if figure.name == name), None) if report else None


def conditions(report: BenchReport) -> dict[str, str]:
    """What has to be equal: the machine and how it was measured, not what was measured."""
    settings, machine = report.settings, report.environment
    return {
        "processor": machine.cpu,
        "CPUs": str(machine.usable_cpus),
        "threads": str(settings.threads),
        "prompts": f"{settings.prompts} ({settings.prompt_source})",
        "longest answer": str(settings.new_tokens),
        "scenario": report.scenario,
    }


def alike(shipped: Sequence[Shipped]) -> tuple[list[Shipped], list[str]]:
    """The largest set of artifacts that were measured alike, and how each other one was not."""
    measured = [one for one in shipped if one.bench]
    keys = [tuple(conditions(one.bench).items()) for one in measured if one.bench]
    if not keys:
        return [], []
    wanted = Counter(keys).most_common(1)[0][0]
    notes = []
    for one, key in zip(measured, keys, strict=True):
        if key != wanted:
            other = dict(wanted)
            differing = [f"{name} {value} instead of {other[name]}" for name, value in key if value != other[name]]
            notes.append(f"{one.label} was measured otherwise and is not compared: {', '.join(differing)}")
    return [one for one, key in zip(measured, keys, strict=True) if key == wanted], notes
