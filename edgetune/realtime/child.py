"""The measured process: ``python -m edgetune.realtime.child`` with a job as JSON on stdin.

Loops run where the model is, so that nothing but the model stands between a request and its answer. It answers on
stdout with one JSON object a line; an error of ours is such an object too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from edgetune.assistant import Assistant
from edgetune.bench.child import open_job
from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import RealtimeRequest
from edgetune.errors import EdgetuneError
from edgetune.realtime.clock import SystemClock
from edgetune.realtime.plan import Plan, carry_out
from edgetune.realtime.serving import server


def serve_job(assistant: Assistant, job: dict[str, Any]) -> None:
    """Carry out the plan and report each loop when it has ended, and each answer as it comes."""
    clock = SystemClock()
    serve = server(assistant, job["prompts"], job["new_tokens"], clock)

    def counted(index: int, scheduled: float, began: float) -> RealtimeRequest:
        answer = serve(index, scheduled, began)
        _tell(done=1)
        return answer

    plan = Plan(
        objectives=_objectives(job["objectives"]), requests=job["requests"], seconds=job["seconds"], rate=job["rate"]
    )
    serve(0, clock.now(), clock.now())  # the first answer warms up and is not counted
    loops, search = carry_out(plan, counted, clock, on_loop=lambda about: _tell(about=about))
    for loop in loops:
        _tell(loop=loop.model_dump(mode="json"))
    _tell(search=None if search is None else search.model_dump(mode="json"))


def _objectives(values: Sequence[Any]) -> tuple[Objective, ...]:
    return tuple(Objective.model_validate(value) for value in values)


def _tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    """Do the job on stdin; 0, or the exit code of an error of ours."""
    job = json.load(sys.stdin)
    try:
        with Assistant(open_job(job)) as assistant:
            serve_job(assistant, job)
    except EdgetuneError as error:
        _tell(kind="error", error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
