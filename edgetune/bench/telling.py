"""What every measured process does: read its job, open, do, and report, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from edgetune.bench.resident import resident
from edgetune.errors import EdgetuneError

Job = dict[str, Any]
Opened = TypeVar("Opened")


def tell(kind: str, **values: Any) -> None:
    """Report one object."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def run_job(open_job: Callable[[Job], AbstractContextManager[Opened]], do: Callable[[Opened, Job, float], None]) -> int:
    """Do the job on stdin; 0, or the exit code of an error of ours, which is reported like everything else.

    Args:
        open_job: opens what is measured as the job wants.
        do: measures it; told the moment at which it was ready.
    """
    job = json.load(sys.stdin)
    job["python_only"] = resident()["peak_rss"]
    try:
        opening = open_job(job)
        ready = time.monotonic()
        with opening as opened:
            do(opened, job, ready)
    except EdgetuneError as error:
        tell("error", error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
        return error.exit_code
    return 0
