"""One request through an assistant, timed as an application would feel it."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.assistant import Assistant
from edgetune.bench.answering import timed_answer
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
    assistant.runtime.reset()
    text, clause, clause_tokens = "", None, 0

    def look_for_clause(piece: str, visible: int) -> None:
        nonlocal text, clause, clause_tokens
        text += piece
        if clause is None and clause_is_ready(text):
            clause, clause_tokens = clock.now(), visible + 1

    found = timed_answer(assistant, assistant.messages(conversation), decoding, clock.now, look_for_clause)
    finished = clock.now()
    if clause is None and found.tokens:
        clause, clause_tokens = finished, len(found.tokens)  # whole answer: there was no earlier end
    return RealtimeRequest(
        prompt=which,
        scheduled_s=round(scheduled - began, 6),
        started_s=round(started - scheduled, 6),
        tokenised_s=round(found.tokenised - scheduled, 6),
        token_s=tuple(round(moment - scheduled, 6) for moment in found.visible),
        clause_s=None if clause is None else round(clause - scheduled, 6),
        clause_tokens=min(clause_tokens, len(found.tokens)),
        finished_s=round(finished - scheduled, 6),
        prompt_tokens=len(found.prompt),
        finish=found.finish,
    )
