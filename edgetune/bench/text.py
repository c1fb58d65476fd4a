"""A benchmark report for people: every figure with its definition beside it."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.bench.budget import beyond_budget
from edgetune.bench.figuring import interval_note
from edgetune.bench.schema import BenchReport, Figure, Settings
from edgetune.bench.statistics import floor, median
from edgetune.bench.verdicts_text import verdict_lines


def to_text(report: BenchReport) -> str:
    """The report as plain text."""
    plain = [figure for figure in report.figures if figure.place is None]
    parts = [_head(report), "", *_rows(plain)]
    for axis in _axes(report):
        parts += ["", *_curve(report, axis)]
    parts += ["", _memory(report), *verdict_lines(report)]
    parts += [f"warning: {warning}" for warning in report.warnings]
    parts += [f"took {_duration(report.seconds)}"] if report.seconds is not None else []
    return "\n".join(parts)


def _duration(seconds: float) -> str:
    """Minutes and seconds; of less than ten seconds the tenths.

    >>> [_duration(seconds) for seconds in (7.24, 59.6, 171.3)]
    ['7.2 s', '1 min 0 s', '2 min 51 s']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _head(report: BenchReport) -> str:
    subject, settings, machine = report.subject, report.settings, report.environment
    cpus = f"{machine.usable_cpus} of {machine.logical_cpus} CPUs"
    limit = f", cgroup limit {machine.cgroup_cpus:g}" if machine.cgroup_cpus else ""
    memory = f", cgroup memory {machine.cgroup_memory_bytes / 1e6:.0f} MB" if machine.cgroup_memory_bytes else ""
    governor = f", governor {machine.governor}" if machine.governor else ""
    lines = [
        f"{subject.name}  {subject.size_bytes / 1e6:.1f} MB  sha256 {subject.sha256[:12]}",
        f"{machine.cpu} ({machine.architecture}), {cpus}{limit}{memory}{governor}",
        f"{settings.runtime}, {_opening(settings)}, {report.scenario}",
        (f"{_asked(settings)}, in each of {_count(settings.rounds, 'fresh process', 'fresh processes')}"),
    ]
    return "\n".join(lines)


def _asked(settings: Settings) -> str:
    if settings.classifies:
        kind = "image" if settings.input == "image" else "text"
        return f"{_count(settings.prompts, kind)} ({settings.prompt_source})"
    prompts = _count(settings.prompts, "prompt")
    return f"{prompts} ({settings.prompt_source}), answers up to {settings.new_tokens} tokens"


def _opening(settings: Settings) -> str:
    parts = [_count(settings.threads, "thread")]
    if settings.prefill_threads not in (None, settings.threads):
        parts.append(f"{settings.prefill_threads} for prompts")
    parts += [f"cache {settings.kv_type}"] if settings.kv_type else []
    parts += [f"batch {settings.batch}"] if settings.batch else []
    parts += [f"context {settings.context}"] if settings.context else []
    return ", ".join(parts)


def _rows(figures: Sequence[Figure]) -> list[str]:
    rows = []
    for figure in figures:
        rows.append(f"{figure.name:<18}{_value(figure):>24}{_interval(figure):>18}  {figure.definition}")
        if figure.percentiles:
            rows.append(f"{'':<18}{'':>24}{'':>18}  {_tail(figure)}")
    return rows


def _axes(report: BenchReport) -> list[str]:
    """What was varied, in the order measured."""
    return list(dict.fromkeys(place[0] for figure in report.figures if (place := figure.place)))


def _curve(report: BenchReport, axis: str) -> list[str]:
    """A table: a row for each value, a column for each metric."""
    metrics = list(dict.fromkeys(f.metric for f in report.figures if (place := f.place) and place[0] == axis))
    columns = [dict(report.curve(metric, axis)) for metric in metrics]
    units = {metric: next(iter(column.values())).unit for metric, column in zip(metrics, columns, strict=True)}
    rows = [f"{axis:<18}" + "".join(f"{f'{metric}, {units[metric]}':>36}" for metric in metrics)]
    values = list(dict.fromkeys(value for column in columns for value in column))
    for value in values:
        cells = [_cell(column[value]) if value in column else "" for column in columns]
        rows.append(f"{value:<18}" + "".join(f"{cell:>36}" for cell in cells))
    first = [next(iter(column.values())) for column in columns]
    rows += [f"  {metric}: {figure.definition}" for metric, figure in zip(metrics, first, strict=True)]
    if len(values) > 1 and axis == "depth":
        rows.append("  and so on for the other depths")
    return rows


def _cell(figure: Figure) -> str:
    return " ".join(filter(None, [_short(figure.median) + _deviation(figure), _interval(figure)]))


def _interval(figure: Figure) -> str:
    """The bootstrap interval of the median; empty where there are too few rounds for one."""
    if figure.interval is None:
        return ""
    low, high = figure.interval
    return f"[{_short(low)}, {_short(high)}]"


def _deviation(figure: Figure) -> str:
    return f" ± {_short(figure.mad)}" if figure.mad is not None else ""


def _value(figure: Figure) -> str:
    if figure.median is None:
        return f"none: {figure.reasons['median']}"
    return f"{_short(figure.median)}{_deviation(figure)} {figure.unit}"


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


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {nouns or f'{noun}s'}"


def _intervals(figures: Sequence[Figure]) -> str:
    """What the brackets are, or why there are none."""
    if any(figure.interval for figure in figures):
        return f"[ ] is {interval_note(figures)}"
    reasons = dict.fromkeys(reason for figure in figures if (reason := figure.reasons.get("interval")))
    return f"no intervals: {next(iter(reasons), 'none was stored')}"


def _memory(report: BenchReport) -> str:
    alone = median([sample.python_only for sample in report.memory]) / 1e6 if report.memory else None
    lines = ["± is the median absolute deviation; figures are medians", _intervals(report.figures)]
    if alone is not None:
        lines.append(f"Python without the model: {alone:.0f} MB of peak_rss")
    if report.memory and report.memory[0].reasons:
        lines += [f"memory_{name}: {reason}" for name, reason in report.memory[0].reasons.items()]
    if (over := beyond_budget(report.settings, report.figures)) is not None:
        verdict = f"exceeded by {over:.0f} MB" if over > 0 else f"kept, with {-over:.0f} MB left"
        lines.append(f"memory budget of {report.settings.memory_budget_mb:.0f} MB: {verdict}")
    return "\n".join(lines)
