"""One request through an assistant, timed as an application would feel it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.assistant import Assistant, text_pieces
from edgetune.bench.realtime_section import RealtimeRequest
from edgetune.realtime.clause import clause_is_ready
from edgetune.realtime.clock import Clock
from edgetune.realtime.loops import Serve
from edgetune.runtimes.protocol import Decoding, Message


def server(assistant: Assistant, prompts: Sequence[Sequence[Message]], new_tokens: int, clock: Clock) -> Serve:
    """A function that answers request number N with prompt N (in turn), nothing kept from the last answer."""
    decoding = Decoding(max_new_tokens=new_tokens)

    def serve(index: int, scheduled: float, began: float) -> RealtimeRequest:
        which = index % len(prompts)
        return _answer(assistant, prompts[which], decoding, clock, which, scheduled, began)

    return serve


def _answer(  # noqa: PLR0913, PLR0917  # what is asked, how, and three moments
    assistant: Assistant,
    conversation: Sequence[Message],
    decoding: Decoding,
    clock: Clock,
    which: int,
    scheduled: float,
    began: float,
) -> RealtimeRequest:
    started = clock.now()
    runtime, tokenizer = assistant.runtime, assistant.runtime.tokenizer
    runtime.reset()
    prompt = tokenizer.encode(tokenizer.render(assistant.messages(conversation)))
    tokenised = clock.now()
    seconds: list[float] = []

    def timed() -> Iterator[int]:
        for token in runtime.stream(prompt, decoding):
            yield token
            seconds.append(clock.now() - scheduled)  # asked for the next one: this one has become text

    text, clause, clause_tokens = "", None, 0
    for piece in text_pieces(timed(), tokenizer):
        text += piece
        if clause is None and clause_is_ready(text):
            clause, clause_tokens = clock.now() - scheduled, len(seconds) + 1
    finished = clock.now() - scheduled
    if clause is None and seconds:
        clause, clause_tokens = finished, len(seconds)  # whole answer: there was no earlier end
    return RealtimeRequest(
        prompt=which,
        scheduled_s=round(scheduled - began, 6),
        started_s=round(started - scheduled, 6),
        tokenised_s=round(tokenised - scheduled, 6),
        token_s=tuple(round(second, 6) for second in seconds),
        clause_s=None if clause is None else round(clause, 6),
        clause_tokens=min(clause_tokens, len(seconds)),
        finished_s=round(finished, 6),
        prompt_tokens=len(prompt),
        finish="length" if len(seconds) == decoding.max_new_tokens else "stop",
    )
