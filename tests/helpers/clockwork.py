"""Requests and loops whose times are chosen, on a clock that only passes when told to."""

from __future__ import annotations

from collections.abc import Callable

from edgetune.bench.realtime_section import RealtimeLoop, RealtimeRequest
from edgetune.realtime.clock import FakeClock
from edgetune.realtime.loops import Serve
from edgetune.runtimes.fake import FakeRuntime


def request(
    *token_s: float, clause_tokens: int = 1, started_s: float = 0.0, scheduled_s: float = 0.0, end: float = 0.0
):
    clause = token_s[clause_tokens - 1] if token_s else None
    return RealtimeRequest(
        prompt=0, scheduled_s=scheduled_s, started_s=started_s, tokenised_s=started_s, token_s=token_s,
        clause_s=clause, clause_tokens=clause_tokens if token_s else 0,
        finished_s=end or (token_s[-1] if token_s else started_s), prompt_tokens=1, finish="stop",
    )  # fmt: skip


def loop(*requests: RealtimeRequest, **changes) -> RealtimeLoop:
    return RealtimeLoop(**{"scenario": "closed loop", "planned": len(requests), "requests": requests, **changes})


def server_of(service: Callable[[int], float], clock: FakeClock) -> Serve:
    """Answers request N with one token after ``service(N)`` seconds."""

    def serve(index: int, scheduled: float, began: float) -> RealtimeRequest:
        started = clock.now() - scheduled
        clock.pass_by(service(index))
        done = clock.now() - scheduled
        return request(done, started_s=started, scheduled_s=scheduled - began)

    return serve


class SlowRuntime(FakeRuntime):
    """Takes time on a fake clock: so much for the prompt, so much for every token."""

    def __init__(self, answers, clock: FakeClock, *, prompt_s: float, token_s: float) -> None:
        super().__init__(answers)
        self._clock, self._prompt_s, self._token_s = clock, prompt_s, token_s

    def stream(self, prompt, decoding):
        self._clock.pass_by(self._prompt_s)
        for token in super().stream(prompt, decoding):
            self._clock.pass_by(self._token_s)
            yield token
