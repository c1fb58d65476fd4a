"""From samples to figures, each with its definition."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.bench.schema import Environment, Figure, Loads, MemorySample, RequestSample
from edgetune.bench.statistics import NOISY, mad, median, median_interval, percentile

PERCENTILES = (90, 95, 99)
#: Metric → unit and definition, in the order in which they are printed.
DEFINITIONS: dict[str, tuple[str, str]] = {
    "load_cold": ("s", "process start → ready for a prompt; the model file was dropped from the page cache before"),
    "load_warm": ("s", "process start → ready for a prompt; the model file was in the page cache"),
    "first_answer_cold": ("s", "process start → first output token of the first answer, load_cold included"),
    "first_answer_warm": ("s", "process start → first output token of the first answer, load_warm included"),
    "ttft": ("ms", "first output token visible - request scheduled; template and tokenisation included"),
    "itl": ("ms", "every gap between consecutive output tokens of one answer, all answers pooled"),
    "itl_mean": ("ms", "of each request: (last token - first token) / (tokens - 1)"),
    "decode": ("tokens/s", "1 / itl_mean of each request"),
    "prefill": ("tokens/s", "prompt tokens / (first output token - prompt tokenised) of each request"),
    "peak_rss": ("MB", "largest resident set of a process that loads and answers, mapped weights counted; own pass"),
}
_SECONDS_TO = {"s": 1.0, "ms": 1e3}


def figures(loads: Loads, requests: Sequence[RequestSample], memory: MemorySample) -> tuple[Figure, ...]:
    """Every metric of :data:`DEFINITIONS`, derived from the samples."""
    longer = [request for request in requests if len(request.token_s) > 1]
    itl_means = [(request.token_s[-1] - request.token_s[0]) / (len(request.token_s) - 1) for request in longer]
    samples: dict[str, list[float]] = {
        "load_cold": [start.ready_s for start in loads.cold],
        "load_warm": [start.ready_s for start in loads.warm],
        "first_answer_cold": [start.first_token_s for start in loads.cold],
        "first_answer_warm": [start.first_token_s for start in loads.warm],
        "ttft": [request.token_s[0] for request in requests if request.token_s],
        "itl": [gap for request in longer for gap in _gaps(request)],
        "itl_mean": itl_means,
        "decode": [1 / mean for mean in itl_means if mean > 0],
        "prefill": [r.prompt_tokens / seconds for r in requests if r.token_s and (seconds := _prefill_s(r)) > 0],
        "peak_rss": [memory.peak_rss / 1e6],
    }
    absent = {"load_cold": loads.cold_reason, "first_answer_cold": loads.cold_reason}
    return tuple(_figure(name, samples[name], absent.get(name)) for name in DEFINITIONS)


def warnings(environment: Environment, found: Sequence[Figure], requests: Sequence[RequestSample]) -> tuple[str, ...]:
    """What makes the figures doubtful."""
    notes = []
    busy = environment.load_average or 0.0
    if busy > 0.5 * environment.usable_cpus:
        notes.append(f"the machine was busy: load {busy:.1f} on {environment.usable_cpus} CPUs before the first start")
    if environment.virtual and any(figure.name == "load_cold" and figure.median for figure in found):
        notes.append("a virtual machine: its host may hold the dropped file in memory, so load_cold is a lower bound")
    for figure in found:
        if figure.median and figure.mad is not None and figure.samples > 2 and figure.mad / figure.median >= NOISY:
            share = figure.mad / figure.median
            notes.append(f"{figure.name} is noisy: MAD is {share:.0%} of the median (10 % or more)")
    empty = sum(not request.token_s for request in requests)
    if empty:
        notes.append(f"{empty} of {len(requests)} prompts got an empty answer and are in no latency figure")
    return tuple(notes)


def _prefill_s(request: RequestSample) -> float:
    return request.token_s[0] - request.tokenised_s


def _gaps(request: RequestSample) -> list[float]:
    return [after - before for before, after in zip(request.token_s, request.token_s[1:], strict=False)]


def _figure(name: str, samples: list[float], absent: str | None) -> Figure:
    unit, definition = DEFINITIONS[name]
    values = [sample * _SECONDS_TO.get(unit, 1.0) for sample in samples]
    if not values:
        reason = absent or "no answer was long enough"
        return Figure(name=name, unit=unit, definition=definition, median=None, samples=0, reasons={"median": reason})
    wanted = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES} if _has_tail(name) else {}
    return Figure(
        name=name,
        unit=unit,
        definition=definition,
        median=median(values),
        mad=mad(values) if len(values) > 1 else None,
        interval=median_interval(values),
        samples=len(values),
        percentiles={key: found.value for key, found in wanted.items()},
        reasons={key: found.reason for key, found in wanted.items() if found.reason},
    )


def _has_tail(name: str) -> bool:
    """Whether users wait for the slow end of this metric."""
    return name in ("ttft", "itl")
