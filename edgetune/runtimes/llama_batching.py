"""Answering many prompts at once with llama.cpp: continuous batching over one shared prefix.

Evaluation asks hundreds of short prompts that all begin with the same system prompt. What they
begin with in common is computed once in sequence 0 and lent to every slot; each step then computes
one token for every running answer and, in the same batch, the prompts of those that start.
The weights are read once a step for all slots. How much that gains depends on where arithmetic takes
over from memory: 2.3 times the single stream on two cores (SmolLM2-135M, Q8_0, short answers).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgetune.runtimes.llama_native import Batch, Context, ContextSize
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.sampling import Sampler

#: Answers computed side by side. On a CPU 8 to 64 cost the same processor time; each costs cache.
DEFAULT_SLOTS = 32
#: Most prompt tokens that join one step, so that running answers are not held up long.
PROMPT_TOKENS_PER_STEP = 512


@dataclass(frozen=True)
class Work:
    """Prompts with how long each answer may get.

    Attributes:
        prompts: token ids, none empty.
        limits: most new tokens, one for each prompt.
    """

    prompts: Sequence[Sequence[int]]
    limits: Sequence[int]

    @property
    def prefix(self) -> int:
        """Tokens that all prompts begin with; each keeps at least one of its own, whose logits start the answer."""
        return min(common_prefix(self.prompts), min(len(prompt) for prompt in self.prompts) - 1)

    @property
    def longest_own(self) -> int:
        """Most cells that one answer needs besides the prefix."""
        prefix = self.prefix
        return max(len(prompt) - prefix + limit for prompt, limit in zip(self.prompts, self.limits, strict=True))

    def size(self, cells: int) -> ContextSize:
        """The context for this work, with as many slots as ``cells`` hold."""
        slots = max(1, min(DEFAULT_SLOTS, len(self.prompts), (cells - self.prefix) // self.longest_own))
        longest = max(len(prompt) for prompt in self.prompts) - self.prefix
        batch = max(PROMPT_TOKENS_PER_STEP, longest) + slots
        return ContextSize(self.prefix + slots * self.longest_own, slots + 1, batch, slots + 1)


@dataclass
class _Slot:
    """One running answer; ``position`` is that of the next token to compute."""

    index: int
    sequence: int
    position: int
    limit: int
    sampler: Sampler
    tokens: list[int] = field(default_factory=list)


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many items all rows begin with.

    >>> common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]])
    2
    """
    ordered = [list(row) for row in rows]
    lowest, highest = min(ordered), max(ordered)  # the two that differ earliest in lexical order
    for position, (one, other) in enumerate(zip(lowest, highest, strict=False)):
        if one != other:
            return position
    return min(len(lowest), len(highest))


def answer_all(
    context: Context,
    work: Work,
    decoding: Decoding,
    is_stop: Callable[[int], bool],
) -> Iterator[tuple[int, list[int], bool]]:
    """Answer every prompt, in a fresh context made with :meth:`Work.size`.

    Yields:
        Number of the prompt, its new tokens without the stop token, and whether a stop token came;
        in the order in which the answers end.
    """
    batch = Batch(context.size.batch)
    _compute_prefix(context, batch, list(work.prompts[0][: work.prefix]))
    waiting = deque(range(len(work.prompts)))
    free = list(range(context.size.sequences - 1, 0, -1))
    running: list[_Slot] = []
    while waiting or running:
        batch.clear()
        for slot in running:
            batch.add(slot.tokens[-1:], slot.sequence, slot.position, "last")
            slot.position += 1
        while waiting and free and len(work.prompts[waiting[0]]) - work.prefix <= batch.room - len(free):
            running.append(_start(context, batch, work, decoding, (waiting.popleft(), free.pop())))
        logits = context.decode(batch)
        still_running = []
        for slot, token in zip(running, _choose(running, logits), strict=True):
            stopped = is_stop(token) or token in decoding.extra_stop_ids
            if not stopped:
                slot.tokens.append(token)
            if stopped or len(slot.tokens) >= slot.limit:
                context.forget(slot.sequence)
                free.append(slot.sequence)
                yield slot.index, slot.tokens, stopped
            else:
                still_running.append(slot)
        running = still_running


def _compute_prefix(context: Context, batch: Batch, prefix: list[int]) -> None:
    for start in range(0, len(prefix), batch.capacity):
        batch.clear()
        batch.add(prefix[start : start + batch.capacity], 0, start, "none")
        context.decode(batch)


def _start(context: Context, batch: Batch, work: Work, decoding: Decoding, place: tuple[int, int]) -> _Slot:
    index, sequence = place
    if work.prefix:
        context.lend(0, sequence)
    prompt = work.prompts[index]
    batch.add(prompt[work.prefix :], sequence, work.prefix, "last")
    return _Slot(index, sequence, len(prompt), work.limits[index], Sampler(decoding, index))


def _choose(running: Sequence[_Slot], logits: NDArray[np.float32]) -> list[int]:
    return [slot.sampler.choose(row) for slot, row in zip(running, logits, strict=True)]
