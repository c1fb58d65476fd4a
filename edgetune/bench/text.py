"""A benchmark report for people: every figure with its definition beside it."""

from __future__ import annotations

from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.statistics import floor


def to_text(report: BenchReport) -> str:
    """The report as plain text."""
    parts = [_head(report), "", *_rows(report), "", _memory(report)]
    parts += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join(parts)


def _head(report: BenchReport) -> str:
    subject, settings, machine = report.subject, report.settings, report.environment
    cpus = f"{machine.usable_cpus} of {machine.logical_cpus} CPUs"
    limit = f", cgroup limit {machine.cgroup_cpus:g}" if machine.cgroup_cpus else ""
    governor = f", governor {machine.governor}" if machine.governor else ""
    lines = [
        f"{subject.name}  {subject.size_bytes / 1e6:.1f} MB  sha256 {subject.sha256[:12]}",
        f"{machine.cpu} ({machine.architecture}), {cpus}{limit}{governor}",
        f"{settings.runtime}, {_count(settings.threads, 'thread')}, {report.scenario}",
        f"{_count(settings.prompts, 'prompt')} ({settings.prompt_source}), answers up to {settings.new_tokens} tokens",
    ]
    return "\n".join(lines)


def _rows(report: BenchReport) -> list[str]:
    rows = []
    for figure in report.figures:
        rows.append(f"{figure.name:<18}{_value(figure):>24}  {figure.definition}")
        if figure.percentiles:
            rows.append(f"{'':<18}{'':>24}  {_tail(figure)}")
    return rows


def _value(figure: Figure) -> str:
    if figure.median is None:
        return f"none: {figure.reasons['median']}"
    deviation = f" ± {_short(figure.mad)}" if figure.mad is not None else ""
    return f"{_short(figure.median)}{deviation} {figure.unit}"


def _tail(figure: Figure) -> str:
    """The percentiles that there are enough samples for, and what the others would need.

    >>> figure = Figure(name="x", unit="ms", definition="", median=1, samples=30, percentiles={"p90": 2, "p95": None})
    >>> _tail(figure)
    'p90 2 ms; 30 samples are too few for p95 (59)'
    """
    parts = [f"{key} {_short(value)} {figure.unit}" for key, value in figure.percentiles.items() if value is not None]
    missing = [key for key, value in figure.percentiles.items() if value is None]
    if missing:
        needs = ", ".join(f"{key} ({floor(float(key[1:]))})" for key in missing)
        parts.append(f"{figure.samples} samples are too few for {needs}")
    return "; ".join(parts)


def _short(value: float | None) -> str:
    """Three significant digits, without an exponent.

    >>> [_short(value) for value in (1234.5, 12.345, 0.012345)]
    ['1234', '12.3', '0.0123']
    """
    if value is None:
        return "none"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _memory(report: BenchReport) -> str:
    memory = report.memory
    parts = {"anonymous": memory.anonymous, "file-backed": memory.file_backed, "PSS": memory.pss}
    known = ", ".join(f"{name} {value / 1e6:.0f} MB" for name, value in parts.items() if value is not None)
    return (
        f"± is the median absolute deviation; figures are medians\n"
        f"memory when the answer had ended: {known or 'unknown'}; Python without the model: "
        f"{memory.python_only / 1e6:.0f} MB"
    )
