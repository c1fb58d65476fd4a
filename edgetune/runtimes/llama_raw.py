"""llama.cpp's own loop, without anything around it: the same calls as llama-bench makes."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.runtimes.llama_native import Batch, Context


class LlamaLoop:
    """Feeds tokens to ``llama_decode``; the logits are computed and nobody looks at them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._prompt = Batch(context.size.batch)
        self._one = Batch(1)
        self._length = 0
        context.forget(0)

    def hold(self, length: int) -> bool:
        """Keep only the first ``length`` tokens; a recurrent model can only keep all or none."""
        kept = length == self._length or self._context.forget(0, length)
        if not kept:
            self._context.forget(0)
        self._length = length if kept else 0
        return kept

    def extend(self, tokens: Sequence[int]) -> None:
        """Compute tokens of a prompt."""
        for start in range(0, len(tokens), self._prompt.capacity):
            part = tokens[start : start + self._prompt.capacity]
            last = start + len(part) == len(tokens)
            self._prompt.clear()
            self._prompt.add(part, 0, self._length, "last" if last else "none")
            self._context.compute(self._prompt)
            self._length += len(part)

    def step(self, token: int) -> None:
        """Compute one token."""
        self._one.clear()
        self._one.add((token,), 0, self._length, "last")
        self._context.compute(self._one)
        self._length += 1
