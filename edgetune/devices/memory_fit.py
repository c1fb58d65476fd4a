"""Does a model fit with a context of N tokens, and which is the longest that does.

::

    needed = weights + rearranged copies + key-value cache + compute buffer + vocabulary + process

Weights are mapped from the file and count in full: dropped pages are read again for the very next token. Some
processors get a rearranged copy of some types beside them (:mod:`edgetune.devices.rearranging`). The buffer follows
what llama.cpp reserves for a batch of 512 tokens with flash attention. ``benchmarks/fit`` holds the estimate
against real processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgetune.devices.app_memory import app_memory
from edgetune.devices.device import Device
from edgetune.devices.footprint import Footprint
from edgetune.devices.rearranging import NOTHING, kinds_of_class

#: Tokens computed at once, llama.cpp's default for n_ubatch and ours.
MICRO_BATCH = 512
#: llama.cpp rounds a cache up to so many cells.
CELLS = 256
#: Rows of the model's width, and of its inner width, that a batch holds at once (seen: 13.5 MiB at 576 and 1536).
_WIDTHS, _INNERS = 7, 2
#: Of llama.cpp's vocabulary in memory, an entry: text, score, attributes, tables (seen: 17 MB for 49,152).
_VOCABULARY_ENTRY = 350
#: This package's own process without a model: Python, numpy, the runtime's library. An app in C++ needs less.
PROCESS = 53_000_000


@dataclass(frozen=True)
class Need:
    """Memory at one context, in bytes."""

    context: int
    weights: int
    rearranged: int
    cache: int
    compute: int
    vocabulary: int
    process: int = PROCESS

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.rearranged + self.cache + self.compute + self.vocabulary + self.process


@dataclass(frozen=True)
class Budget:
    """What may be used.

    Attributes:
        name: of the device, or what the limit is.
        bytes: that may be used.
        reason: where that is from.
        kinds: types of weights that the processor rearranges.
    """

    name: str
    bytes: int
    reason: str
    kinds: frozenset[str] = NOTHING


@dataclass(frozen=True)
class Fit:
    """The answer for one device.

    Attributes:
        device: its name, or what the limit is.
        budget: bytes that may be used.
        reason: where the budget is from.
        need: at the context asked for.
        longest: context in tokens that still fits; 0: not even the shortest; at most what the model was built for.
        trained_context: tokens that it was built for.
        notes: what else should be known.
    """

    device: str
    budget: int
    reason: str
    need: Need
    longest: int
    trained_context: int
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether it fits with the context asked for, which the model has to hold too."""
        return self.need.total <= self.budget and self.need.context <= self.trained_context


def need(model: Footprint, context: int, cache_type: str | None = None, kinds: frozenset[str] = NOTHING) -> Need:
    """Memory that a model needs with a context of so many tokens.

    Args:
        model: what it costs.
        context: tokens.
        cache_type: of the cache; None: the runtime's own.
        kinds: types of weights that the processor rearranges.
    """
    cells = -(-context // CELLS) * CELLS
    rows = MICRO_BATCH * 4 * (_WIDTHS * model.width + _INNERS * model.inner)
    mask = MICRO_BATCH * 2 * cells
    return Need(
        context=context,
        weights=model.weights_bytes,
        rearranged=sum(size for kind, size in model.matrices.items() if kind in kinds),
        cache=model.cache_bytes(cells, cache_type),
        compute=rows + mask + 4 * model.vocabulary,
        vocabulary=_VOCABULARY_ENTRY * model.vocabulary,
    )


def fit(model: Footprint, device: Device, context: int, cache_type: str | None = None) -> Fit:
    """Does it fit on a device, within what an app may use there."""
    allowed = app_memory(device)
    reason = f"{allowed.share:.0%} of {device.memory_gb:g} GB, {allowed.reason}"
    limit = Budget(device.name, allowed.bytes, reason, kinds_of_class(device.device_class))
    return fit_within(model, limit, context, cache_type)


def fit_within(model: Footprint, limit: Budget, context: int, cache_type: str | None = None) -> Fit:
    """Does it fit within a budget."""
    asked = need(model, context, cache_type, limit.kinds)
    most = longest(model, limit.bytes, cache_type, limit.kinds)
    notes = tuple(_notes(model, asked))
    return Fit(limit.name, limit.bytes, limit.reason, asked, most, model.trained_context, notes)


def longest(model: Footprint, budget: int, cache_type: str | None = None, kinds: frozenset[str] = NOTHING) -> int:
    """Longest context that fits, in whole cells of the cache, at most what the model was built for."""
    low, high = 0, -(-model.trained_context // CELLS)
    while low < high:
        middle = (low + high + 1) // 2
        if need(model, middle * CELLS, cache_type, kinds).total <= budget:
            low = middle
        else:
            high = middle - 1
    return min(low * CELLS, model.trained_context)


def _notes(model: Footprint, asked: Need) -> Iterator[str]:
    yield from model.notes
    if asked.context > model.trained_context:
        yield f"the model was built for {model.trained_context} tokens, fewer than the {asked.context} asked for"
    if model.runtime != "llama.cpp":
        yield f"the estimate was checked against llama.cpp, not against {model.runtime}, which may copy weights"
    if asked.rearranged:
        yield (
            "llama.cpp keeps a rearranged copy of some weights: once it is loaded, the system can take back "
            f"{asked.rearranged / 1e6:.0f} MB of the file's pages"
        )
