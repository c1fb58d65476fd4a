"""One request as an application makes it: template, tokeniser, sampler and text included."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from edgetune.assistant import Assistant, text_pieces
from edgetune.runtimes.protocol import Decoding, Message


def prompt_tokens(assistant: Assistant, conversation: Sequence[Message]) -> list[int]:
    """Token ids of a conversation, up to where the model has to answer."""
    tokenizer = assistant.runtime.tokenizer
    return tokenizer.encode(tokenizer.render(conversation))


def answer(assistant: Assistant, conversation: Sequence[Message], decoding: Decoding) -> dict[str, Any]:
    """Answer one conversation with nothing kept from the last.

    Returns:
        The fields of :class:`~edgetune.bench.samples.RequestSample`, and ``tokens``.
    """
    runtime = assistant.runtime
    runtime.reset()
    scheduled = time.monotonic()
    prompt = prompt_tokens(assistant, conversation)
    tokenised = time.monotonic() - scheduled
    seconds: list[float] = []
    tokens: list[int] = []

    def watched() -> Iterator[int]:
        for token in runtime.stream(prompt, decoding):
            yield token
            # Whoever asks for the next token has shown the text of this one.
            seconds.append(round(time.monotonic() - scheduled, 7))
            tokens.append(token)

    for _piece in text_pieces(watched(), runtime.tokenizer):
        pass
    return {
        "prompt_tokens": len(prompt),
        "tokenised_s": round(tokenised, 7),
        "token_s": seconds,
        "finish": "length" if len(seconds) == decoding.max_new_tokens else "stop",
        "tokens": tokens,
    }
