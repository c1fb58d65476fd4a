"""What is wanted of a benchmark: every setting with its default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgetune.bench.samples import Axis
from edgetune.runtimes.protocol import KvCache

#: Tokens held before those that are timed; those that do not fit the context are left out.
DEPTHS = (0, 512, 2048)


@dataclass(frozen=True)
class Plan:
    """How to measure. Of a setting with several values all is measured with the first, and each is tried by itself.

    Attributes:
        prompts: how many requests to time in each round.
        new_tokens: longest answer; an answer ends earlier where the model stops.
        threads: for tokens and prompts; default: the physical cores this process may use.
        thread_counts: of a classifier, to try.
        rounds: fresh processes, each answering all prompts.
        starts: fresh processes with the files dropped from the page cache.
        memory_rounds: fresh processes whose memory is read.
        depths: tokens held before those that are timed.
        depth_prefill: tokens of the prefill rate at each depth.
        depth_decode: tokens of the decode rate at each depth.
        axis_depth: tokens held where a setting is varied.
        prefill_threads: to try.
        decode_threads: to try.
        kv_types: types of the key-value cache to try.
        batches: most tokens computed in one go, or inputs that a classifier is given at once, to try.
        contexts: lengths that the runtime is opened for, to try.
        sustained: minutes of decoding without a pause; 0: none.
        memory_budget_mb: what the peak is held against.
    """

    prompts: int = 13  # in five rounds 65 samples; p95 needs 59, and a prompt may have an answer too short to count
    new_tokens: int = 64
    threads: int | None = None
    thread_counts: tuple[int, ...] = ()
    rounds: int = 5
    starts: int = 3
    memory_rounds: int = 3
    depths: tuple[int, ...] = DEPTHS
    depth_prefill: int = 128
    depth_decode: int = 32
    axis_depth: int = 512
    prefill_threads: tuple[int, ...] = ()
    decode_threads: tuple[int, ...] = ()
    kv_types: tuple[KvCache, ...] = ()
    batches: tuple[int, ...] = ()
    contexts: tuple[int, ...] = ()
    sustained: float = 0.0
    memory_budget_mb: float | None = None

    @property
    def axes(self) -> dict[Axis, tuple[int | str, ...]]:
        """What can be varied → the values given."""
        return {
            "prefill_threads": self.prefill_threads,
            "decode_threads": self.decode_threads,
            "kv_type": self.kv_types,
            "batch": self.batches,
            "context": self.contexts,
        }

    @property
    def opening(self) -> dict[str, Any]:
        """How a runtime is opened, in the words of a job."""
        first: dict[str, Any] = {axis: values[0] if values else None for axis, values in self.axes.items()}
        first["decode_threads"] = first["decode_threads"] or self.threads
        return first

    @property
    def threads_asked(self) -> int | None:
        """Threads for single tokens; None: the default."""
        asked: int | None = self.opening["decode_threads"]
        return asked

    def points(self) -> Iterator[tuple[Axis, int | str]]:
        """Every setting to try by itself, where several values are given."""
        for axis, values in self.axes.items():
            if len(values) > 1:
                yield from ((axis, value) for value in values)

    def classifier_points(self) -> Iterator[tuple[str, int]]:
        """As :meth:`points`, of what a classifier has."""
        for axis, values in (("threads", self.thread_counts), ("batch", self.batches)):
            if len(values) > 1:
                yield from ((axis, value) for value in values)
