"""The measured process: ``python -m edgetune.realtime.child`` with a job as JSON on stdin.

Loops run where the model is, so that nothing but the model stands between a request and its answer. It answers on
stdout as :mod:`edgetune.bench.child` does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from edgetune.assistant import Assistant
from edgetune.bench.child import main
from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import RealtimeRequest
from edgetune.bench.telling import tell
from edgetune.realtime.clock import SystemClock
from edgetune.realtime.plan import Plan, carry_out
from edgetune.realtime.serving import server


def serve_job(assistant: Assistant, job: dict[str, Any], _ready: float) -> None:
    """Carry out the plan and report each loop when it has ended, and each answer as it comes."""
    clock = SystemClock()
    serve = server(assistant, job["prompts"], job["new_tokens"], clock)

    def counted(index: int, scheduled: float, began: float) -> RealtimeRequest:
        answer = serve(index, scheduled, began)
        tell("answered")
        return answer

    plan = Plan(
        objectives=_objectives(job["objectives"]), requests=job["requests"], seconds=job["seconds"], rate=job["rate"]
    )
    serve(0, clock.now(), clock.now())  # the first answer warms up and is not counted
    loops, search = carry_out(plan, counted, clock, on_loop=lambda what: tell("begins", what=what))
    for loop in loops:
        tell("loop", loop=loop.model_dump(mode="json"))
    tell("search", search=None if search is None else search.model_dump(mode="json"))


def _objectives(values: Sequence[Any]) -> tuple[Objective, ...]:
    return tuple(Objective.model_validate(value) for value in values)


if __name__ == "__main__":
    sys.exit(main(serve_job))
