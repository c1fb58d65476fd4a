"""The runtime's own loop, timed: over given tokens, after given depths, without a pause."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, pairwise
from typing import Any

from edgetune.assistant import Assistant
from edgetune.bench.answering import prompt_tokens
from edgetune.errors import EdgetuneError
from edgetune.runtimes.protocol import LoopsRaw, RawLoop, Runtime

#: The depth to which sustained decoding goes before it begins again.
SUSTAINED_DEPTH = 512


def through_the_loop(runtime: LoopsRaw, prompt: Sequence[int], answer: Sequence[int]) -> dict[str, Any]:
    """The same prompt and answer through the runtime's own loop.

    Returns:
        ``prompt_tokens``, ``prefill_s``, and ``step_s`` of each token after the first.
    """
    loop = runtime.raw_loop(len(prompt) + len(answer) - 1)  # nothing follows the last token, so it is not computed
    start = time.monotonic()
    loop.extend(prompt)
    prefill = time.monotonic() - start
    return {
        "prompt_tokens": len(prompt),
        "prefill_s": round(prefill, 7),
        "step_s": _steps(loop, answer[:-1]),
    }


def at_depths(assistant: Assistant, job: dict[str, Any], depths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Both rates after each depth that leaves room in the context.

    Yields:
        Fields of :class:`~edgetune.bench.samples.DepthSample`.

    Raises:
        EdgetuneError: the runtime has no loop of its own.
    """
    prefill, decode = int(job["depth_prefill"]), int(job["depth_decode"])
    room = room_after(prefill, decode)
    fitting = [depth for depth in depths if depth + room <= assistant.runtime.context_length]
    if not fitting:
        return
    capacity = max(fitting) + room - 1
    text = some_tokens(assistant, job, capacity)
    loop = _own_loop(assistant.runtime, capacity)
    loop.extend(text[: prefill - 1])  # the first inference warms up
    loop.step(text[prefill - 1])  # within the capacity, also where depth 0 alone fits
    held = 0
    for depth in fitting:
        held = _go_to(loop, text, held, depth)
        start = time.monotonic()
        loop.extend(text[depth : depth + prefill])
        took = time.monotonic() - start
        held = _go_to(loop, text, depth + prefill, max(depth, 1))
        steps = _steps(loop, text[held : held + decode])
        held += decode
        yield {
            "depth": depth,
            "prefill_tokens": prefill,
            "prefill_s": round(took, 7),
            "step_s": steps,
        }


def steady(assistant: Assistant, job: dict[str, Any], seconds: float) -> Iterator[int]:
    """Decode without a pause; yields the tokens that ended in each second.

    Raises:
        EdgetuneError: the runtime has no loop of its own.
    """
    deepest = min(SUSTAINED_DEPTH, assistant.runtime.context_length - 1)
    text = some_tokens(assistant, job, deepest)
    loop = _own_loop(assistant.runtime, deepest)
    loop.extend(text[:1])
    depth, count, second = 1, 0, 1
    start = time.monotonic()
    while second <= seconds:
        if depth == deepest:
            depth = _go_to(loop, text, depth, 1)
        loop.step(text[depth])
        took = time.monotonic() - start
        while took > second and second <= seconds:  # a slow token may take several
            yield count
            count, second = 0, second + 1
        depth, count = depth + 1, count + 1


def some_tokens(assistant: Assistant, job: dict[str, Any], count: int) -> list[int]:
    """Tokens of the prompts, over and over."""
    tokens = [t for prompt in job["prompts"] for t in prompt_tokens(assistant, assistant.messages(prompt))]
    return list(islice(cycle(tokens), count))


def room_after(prefill: int, decode: int) -> int:
    """Tokens of context that a depth needs after it: those of the longer rate, and one that is chosen after them."""
    return max(prefill, decode + 1) + 1


def _own_loop(runtime: Runtime, capacity: int) -> RawLoop:
    if not isinstance(runtime, LoopsRaw):
        raise EdgetuneError(
            f"{runtime.name} has no loop of its own that can be timed",
            hint="leave out --sustained, and give one value of each setting",
        )
    return runtime.raw_loop(capacity)


def _go_to(loop: RawLoop, text: Sequence[int], held: int, length: int) -> int:
    """Hold exactly the first ``length`` tokens of ``text``."""
    kept = min(held, length)
    if not loop.hold(kept):
        kept = 0
    if kept < length:
        loop.extend(text[kept:length])
        loop.hold(length)  # a token that the loop has chosen goes now, and not in the time of what follows
    return length


def _steps(loop: RawLoop, tokens: Sequence[int]) -> list[float]:
    times = [time.monotonic()]
    for token in tokens:
        loop.step(token)
        times.append(time.monotonic())
    return [round(after - before, 7) for before, after in pairwise(times)]
