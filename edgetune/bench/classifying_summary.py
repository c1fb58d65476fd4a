"""From the samples of a classifier to its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.bench.definitions import AT, CLASSIFYING, DEFINITIONS
from edgetune.bench.figuring import Values, filled, scaled
from edgetune.bench.samples import BatchSample
from edgetune.bench.schema import Figure, Settings
from edgetune.bench.summary import UNREAD, Samples, starts

NO_GRAPH = "this runtime cannot be timed without what is around it"
#: Of the memory.
_MEMORY = ("peak_rss", "anonymous", "file_backed", "pss")


def classifier_figures(found: Samples, settings: Settings) -> tuple[Figure, ...]:
    """Start, latency, rate and memory, then latency and rate of each setting that was varied."""
    values = starts(found) | _latencies(found) | _rates([one for one in found.batches if one.axis is None])
    values |= {
        name: [(one.round, float(value)) for one in found.memory if (value := getattr(one, name)) is not None]
        for name in _MEMORY
    }
    absent = {
        **dict.fromkeys(("load_cold", "first_answer_cold"), found.no_cold),
        **dict.fromkeys(("latency_raw", "overhead", "batch_rate_raw"), NO_GRAPH),
        **dict.fromkeys(_MEMORY, UNREAD),
    }
    known = {name: DEFINITIONS[name] for name in ("load_cold", "load_warm")} | CLASSIFYING
    known |= {name: DEFINITIONS[name] for name in _MEMORY}
    words = {"batch": settings.batch}
    plain = [scaled(name, filled(one, words), values[name], absent.get(name)) for name, one in known.items()]
    return (*plain, *_varied([one for one in found.batches if one.axis is not None], settings))


def _latencies(found: Samples) -> dict[str, Values]:
    raw = {(one.round, one.prompt): one.prefill_s for one in found.raw}
    both = [
        (one.round, one.token_s[0], seconds)
        for one in found.requests
        if (seconds := raw.get((one.round, one.prompt))) is not None
    ]
    return {
        "latency": [(one.round, one.token_s[0]) for one in found.requests],
        "latency_raw": [(one.round, one.prefill_s) for one in found.raw],
        "overhead": [(number, (whole - alone) / alone) for number, whole, alone in both],
    }


def _rates(batches: Sequence[BatchSample]) -> dict[str, Values]:
    return {
        "batch_rate": [(one.round, one.inputs / one.done_s) for one in batches],
        "batch_rate_raw": [(one.round, one.inputs / one.raw_s) for one in batches if one.raw_s is not None],
    }


def _varied(batches: Sequence[BatchSample], settings: Settings) -> Iterator[Figure]:
    for axis, value in dict.fromkeys((one.axis, one.value) for one in batches):
        own = [one for one in batches if (one.axis, one.value) == (axis, value)]
        place = f"{axis}={value}"
        alone = [(one.round, one.done_s) for one in own if one.inputs == 1]
        together = [one for one in own if one.inputs > 1]
        size = {"batch": together[0].inputs if together else settings.batch}
        if axis == "threads" or not together:
            yield scaled(f"latency@{place}", AT["latency"], alone)
        if together:
            yield scaled(f"batch_rate@{place}", filled(AT["batch_rate"], size), _rates(together)["batch_rate"])
        peaks = [(one.round, float(one.peak_rss)) for one in own[-1:] if one.peak_rss is not None]
        yield scaled(f"peak_rss@{place}", AT["peak_rss"], peaks, UNREAD)
