"""From samples to figures, each with its definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from edgetune.bench import company
from edgetune.bench.budget import beyond_budget
from edgetune.bench.definitions import AT, DEFINITIONS, OVERHEADS, RETENTION_MINUTES, SUSTAINED
from edgetune.bench.figuring import Values, filled, gaps_of, scaled
from edgetune.bench.samples import (
    AxisSample,
    BatchSample,
    DepthSample,
    EnergySample,
    LoadSample,
    MemorySample,
    RawSample,
    RequestSample,
    Sustained,
)
from edgetune.bench.schema import Environment, Figure, Settings
from edgetune.bench.statistics import FEWEST_ROUNDS, NOISY, mad, median

__all__ = ["DEFINITIONS", "Samples", "figures", "warnings"]

#: Why memory is not known.
UNREAD = "this system has no /proc to read it from"
#: What a runtime without a loop of its own has not.
_OF_THE_LOOP = ("e2e_raw", "overhead_e2e", "itl_raw", "decode_raw", "prefill_raw", "overhead_per_token")
#: Seconds at each end of a sustained run.
_END = 30

#: How much a copy of memory may vary, as a share, before the machine is called restless.
RESTLESS = 0.05

S = TypeVar("S")
K = TypeVar("K")


@dataclass
class Samples:
    """All that was reported of one subject."""

    warm: list[LoadSample] = field(default_factory=list)
    cold: list[LoadSample] = field(default_factory=list)
    cold_reason: str | None = None
    requests: list[RequestSample] = field(default_factory=list)
    raw: list[RawSample] = field(default_factory=list)
    depths: list[DepthSample] = field(default_factory=list)
    axes: list[AxisSample] = field(default_factory=list)
    batches: list[BatchSample] = field(default_factory=list)
    memory: list[MemorySample] = field(default_factory=list)
    energy: list[EnergySample] = field(default_factory=list)
    sustained: Sustained | None = None

    @property
    def raw_reason(self) -> str | None:
        """Why nothing is measured in the runtime's own loop."""
        return None if self.raw or not self.requests else "this runtime has no loop of its own that can be timed"

    @property
    def no_cold(self) -> str:
        """Why there is no cold start, where there is none."""
        return self.cold_reason or "no cold starts were asked for"


def figures(found: Samples, settings: Settings) -> tuple[Figure, ...]:
    """Every metric of :data:`DEFINITIONS`, then those at each depth and of each setting that was varied."""
    values = starts(found) | _latencies(found.requests) | _raw(found) | _memory(found.memory) | _energy(found.energy)
    absent = _absent(found)
    result = [scaled(name, known, values[name], absent.get(name)) for name, known in DEFINITIONS.items()]
    result += _at_depths(found.depths, settings)
    result += _at_axes(found.axes, settings)
    if found.sustained:
        result += _sustained(found.sustained)
    return tuple(result)


def warnings(
    environment: Environment, settings: Settings, found: Sequence[Figure], requests: Sequence[RequestSample]
) -> tuple[str, ...]:
    """What makes the figures doubtful, or incomplete."""
    notes = list(doubts(environment, found))
    threads = max(settings.threads, settings.prefill_threads or 0)
    if threads > environment.usable_cpus:
        notes.append(f"{threads} threads on {environment.usable_cpus} CPUs: their waiting for one another is timed too")
    if environment.virtual and any(figure.name == "load_cold" and figure.median for figure in found):
        notes.append("a virtual machine: its host may hold the dropped file in memory, so load_cold is a lower bound")
    empty = sum(not request.token_s for request in requests)
    if empty:
        notes.append(f"{empty} of {len(requests)} answers were empty and are in no latency figure")
    if (over := beyond_budget(settings, found)) is not None and over > 0:
        notes.append(f"peak_rss is {over:.0f} MB above the budget of {settings.memory_budget_mb:.0f} MB")
    return tuple(notes)


def doubts(environment: Environment, found: Sequence[Figure]) -> Iterator[str]:
    """That the machine was busy, and which figures are noisy."""
    busy = environment.load_average or 0.0
    if busy > 0.5 * environment.usable_cpus:
        yield f"the machine was busy: load {busy:.1f} on {environment.usable_cpus} CPUs before the first start"
    yield from company.doubts(environment.others_share, environment.steal_share)
    if len(environment.yardstick) >= FEWEST_ROUNDS:
        share = mad(environment.yardstick) / median(environment.yardstick)
        if share >= RESTLESS:
            yield f"the machine itself was restless: MAD of copying memory is {share:.0%} ({RESTLESS:.0%} or more)"
    for one in found:
        if (share := noise(one)) >= NOISY:
            yield f"{one.name} is noisy: MAD is {share:.0%} of the median ({NOISY:.0%} or more)"


def noise(figure: Figure) -> float:
    """MAD over the median; 0 where a figure has too few samples to tell, or is a difference around zero."""
    if not figure.median or figure.mad is None or figure.samples <= 2 or figure.name in OVERHEADS:
        return 0.0
    return figure.mad / abs(figure.median)


def starts(found: Samples) -> dict[str, Values]:
    """Of each start, by figure: (round, seconds). What only the first inference takes is what a later one does not."""
    later = {(r.round, r.prompt): r.token_s[0] for r in found.requests if r.token_s}
    first = [
        (s.round, s.first_request_s - later[s.round, 0])
        for s in found.warm
        if s.first_request_s is not None and (s.round, 0) in later
    ]
    return {
        "load_cold": [(start.round, start.ready_s) for start in found.cold],
        "load_warm": [(start.round, start.ready_s) for start in found.warm],
        "first_answer_cold": [(start.round, start.first_token_s) for start in found.cold],
        "first_answer_warm": [(start.round, start.first_token_s) for start in found.warm],
        "first_inference": first,
    }


def _latencies(requests: Sequence[RequestSample]) -> dict[str, Values]:
    answered = [request for request in requests if request.token_s]
    longer = [request for request in requests if len(request.token_s) > 1]
    means = [(r.round, (r.token_s[-1] - r.token_s[0]) / (len(r.token_s) - 1)) for r in longer]
    return {
        "ttft": [(request.round, request.token_s[0]) for request in answered],
        "itl": [(request.round, gap) for request in longer for gap in gaps_of(request.token_s)],
        "itl_mean": means,
        "decode": [(number, 1 / mean) for number, mean in means if mean > 0],
        "prefill": [(r.round, r.prompt_tokens / seconds) for r in answered if (seconds := _prefill_s(r)) > 0],
        "e2e": [(request.round, request.token_s[-1]) for request in answered],
    }


def _raw(found: Samples) -> dict[str, Values]:
    answered = {(r.round, r.prompt): r for r in found.requests if r.token_s}
    asked = {key: r for key, r in answered.items() if len(r.token_s) > 1}
    whole = [(raw, answered[key], _whole_s(raw)) for raw in found.raw if (key := (raw.round, raw.prompt)) in answered]
    stepped = [sample for sample in found.raw if sample.step_s]
    both = [(sample, asked[key]) for sample in stepped if (key := (sample.round, sample.prompt)) in asked]
    return {
        "e2e_raw": [(raw.round, seconds) for raw, _, seconds in whole],
        "overhead_e2e": [(raw.round, app.token_s[-1] / seconds - 1) for raw, app, seconds in whole if seconds > 0],
        "itl_raw": [(sample.round, step) for sample in stepped for step in sample.step_s],
        "decode_raw": [(one.round, len(one.step_s) / seconds) for one in stepped if (seconds := sum(one.step_s)) > 0],
        "prefill_raw": [(s.round, s.prompt_tokens / s.prefill_s) for s in found.raw if s.prefill_s > 0],
        "overhead_per_token": [
            (raw.round, median(gaps_of(app.token_s)) / step - 1)
            for raw, app in both
            if (step := median(raw.step_s)) > 0
        ],
    }


def _whole_s(raw: RawSample) -> float:
    """Seconds of a prompt and all its tokens; the first token comes with the prompt."""
    return raw.prefill_s + sum(raw.step_s)


def _memory(memory: Sequence[MemorySample]) -> dict[str, Values]:
    fields = {"memory_weights": "weights", "memory_kv": "kv", "memory_compute": "compute"}
    fields |= {name: name for name in ("peak_rss", "anonymous", "file_backed", "pss")}
    return {
        name: [(sample.round, float(value)) for sample in memory if (value := getattr(sample, key)) is not None]
        for name, key in fields.items()
    }


def _energy(energy: Sequence[EnergySample]) -> dict[str, Values]:
    known = [(s.round, s.joules / s.tokens) for s in energy if s.joules is not None and s.tokens]
    return {"energy_per_token": known}


def _absent(found: Samples) -> dict[str, str | None]:
    """Why there are no samples of a figure."""
    raw = found.raw_reason
    parts = next(iter(found.memory), None)
    reasons = parts.reasons if parts else {}
    return {
        **dict.fromkeys(("load_cold", "first_answer_cold"), found.no_cold),
        **dict.fromkeys(_OF_THE_LOOP, raw),
        **dict.fromkeys(("anonymous", "file_backed", "pss"), UNREAD),
        **{f"memory_{name}": reasons.get(name) for name in ("weights", "kv", "compute")},
        "energy_per_token": next((sample.reason for sample in found.energy if sample.reason), None),
        "first_inference": "the first prompt got no answer",
        "peak_rss": "memory was not measured",
    }


def _at_depths(depths: Sequence[DepthSample], settings: Settings) -> Iterator[Figure]:
    for depth, samples in _grouped(depths, lambda sample: sample.depth):
        yield from _rates(f"depth={depth}", samples, depth, settings)


def _at_axes(axes: Sequence[AxisSample], settings: Settings) -> Iterator[Figure]:
    for (axis, value), samples in _grouped(axes, lambda sample: (sample.axis, str(sample.value))):
        place = f"{axis}={value}"
        yield from _rates(place, samples, samples[0].depth, settings)
        yield scaled(f"peak_rss@{place}", AT["peak_rss"], [(s.round, float(s.peak_rss)) for s in samples])
        caches = [(s.round, float(s.kv)) for s in samples if s.kv is not None]
        yield scaled(f"memory_kv@{place}", AT["memory_kv"], caches, "the runtime does not say")


def _grouped(samples: Sequence[S], key: Callable[[S], K]) -> list[tuple[K, list[S]]]:
    """Samples by a key, in the order in which the keys first came."""
    found: dict[K, list[S]] = {}
    for sample in samples:
        found.setdefault(key(sample), []).append(sample)
    return list(found.items())


def _rates(place: str, samples: Sequence[DepthSample], depth: int, settings: Settings) -> Iterator[Figure]:
    words = {"prefill": settings.depth_prefill, "decode": settings.depth_decode, "depth": depth}
    prefill = [(s.round, s.prefill_tokens / s.prefill_s) for s in samples if s.prefill_s > 0]
    decode = [(s.round, len(s.step_s) / sum(s.step_s)) for s in samples if sum(s.step_s) > 0]
    for name, values in (("prefill", prefill), ("decode", decode)):
        yield scaled(f"{name}@{place}", filled(AT[name], words), values)


def _sustained(run: Sustained) -> Iterator[Figure]:
    short = run.minutes < RETENTION_MINUTES
    note = f"; shorter than the {RETENTION_MINUTES} minutes of the published definition" if short else ""
    known = {name: filled(one, {"minutes": f"{run.minutes:g}", "short": note}) for name, one in SUSTAINED.items()}
    yield scaled("decode_sustained", known["decode_sustained"], [(0, float(count)) for count in run.tokens])
    enough = len(run.tokens) >= 2 * _END
    first, last = sum(run.tokens[:_END]), sum(run.tokens[-_END:])
    ends = [last / first] if enough and first else []
    reason = f"{len(run.tokens)} seconds; two ends of {_END} are needed"
    yield scaled("retention", known["retention"], [(0, share) for share in ends], reason)


def _prefill_s(request: RequestSample) -> float:
    return request.token_s[0] - request.tokenised_s
