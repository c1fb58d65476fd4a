"""One request as an application makes it: template, tokeniser, sampler and text included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgetune.assistant import Assistant, text_pieces
from edgetune.runtimes.protocol import Decoding, Message


@dataclass(frozen=True)
class Timed:
    """One answer, with the moments of a clock.

    Attributes:
        prompt: its tokens.
        tokenised: when they were there.
        tokens: of the answer.
        visible: when each of them was text, or a part of a character that is not whole yet.
        finish: whether the model ended it, or the limit.
    """

    prompt: Sequence[int]
    tokenised: float
    tokens: Sequence[int]
    visible: Sequence[float]
    finish: Literal["stop", "length"]


def prompt_tokens(assistant: Assistant, conversation: Sequence[Message]) -> list[int]:
    """Token ids of a conversation, up to where the model has to answer."""
    tokenizer = assistant.runtime.tokenizer
    return tokenizer.encode(tokenizer.render(conversation))


def timed_answer(
    assistant: Assistant,
    conversation: Sequence[Message],
    decoding: Decoding,
    now: Callable[[], float],
    on_text: Callable[[str, int], object] | None = None,
) -> Timed:
    """Answer one conversation; a reset before it keeps nothing of the last one.

    Args:
        assistant: to be asked.
        conversation: up to where the model has to answer.
        decoding: how.
        now: reads the clock.
        on_text: told each piece of text, and how many tokens were visible before it.
    """
    runtime = assistant.runtime
    prompt = prompt_tokens(assistant, conversation)
    tokenised = now()
    visible: list[float] = []
    tokens: list[int] = []

    def watched() -> Iterator[int]:
        for token in runtime.stream(prompt, decoding):
            yield token
            # Whoever asks for the next token has shown the text of this one.
            visible.append(now())
            tokens.append(token)

    for piece in text_pieces(watched(), runtime.tokenizer):
        if on_text:
            on_text(piece, len(visible))
    finish: Literal["stop", "length"] = "length" if len(tokens) == decoding.max_new_tokens else "stop"
    return Timed(prompt, tokenised, tokens, visible, finish)


def answer(assistant: Assistant, conversation: Sequence[Message], decoding: Decoding) -> dict[str, Any]:
    """Answer one conversation at once, with nothing kept from the last.

    Returns:
        The fields of :class:`~edgetune.bench.samples.RequestSample`, and ``tokens``.
    """
    assistant.runtime.reset()
    scheduled = time.monotonic()
    found = timed_answer(assistant, conversation, decoding, time.monotonic)
    return {
        "prompt_tokens": len(found.prompt),
        "tokenised_s": round(found.tokenised - scheduled, 7),
        "token_s": [round(moment - scheduled, 7) for moment in found.visible],
        "finish": found.finish,
        "tokens": list(found.tokens),
    }
