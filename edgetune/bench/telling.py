"""What every measured process does: read its job, open, do, and report, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from edgetune.errors import EdgetuneError
from edgetune.machine import peak_rss

Job = dict[str, Any]
#: Seconds after which threads of a runtime have stopped to look for further work; ONNX Runtime's spin for a while.
SETTLED = 0.1
Opened = TypeVar("Opened")


def tell(kind: str, **values: Any) -> None:
    """Report one object."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def wait_for_turn(job: Job) -> None:
    """Stand still until those that are measured in turns with this process have done as much as it has.

    Raises:
        SystemExit: nobody is left who would say so.
    """
    if job.get("in_turns"):
        time.sleep(SETTLED)  # else they would do so in the other's time
        tell("turn")
        if not sys.stdin.readline():
            sys.exit("nobody reads what is measured here any more")


def run_job(open_job: Callable[[Job], AbstractContextManager[Opened]], do: Callable[[Opened, Job, float], None]) -> int:
    """Do the job, one line on stdin; 0, or the exit code of an error of ours, which is reported like everything else.

    Args:
        open_job: opens what is measured as the job wants.
        do: measures it; told the moment at which it was ready.
    """
    job = json.loads(sys.stdin.readline())
    job["python_only"] = peak_rss()
    try:
        opening = open_job(job)
        ready = time.monotonic()
        with opening as opened:
            do(opened, job, ready)
    except EdgetuneError as error:
        tell("error", error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
        return error.exit_code
    return 0
