"""The process of a trial: ``python -m edgetune.trial_child`` with a job as one line of JSON on stdin.

It says what it does on stderr. On stdout an error of ours is one line of JSON; nothing else is written there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetune.bench.telling import tell
from edgetune.errors import EdgetuneError, Interrupted
from edgetune.memory import memory_errors
from edgetune.recipe import Resolved, validate

Job = dict[str, Any]


def train(job: Job) -> None:
    """Train, or go on; then evaluate, if the job wants it."""
    from edgetune import training
    from edgetune.evaluation import evaluate_run

    resolved = Resolved(validate(job["recipe"], job["path"]), job["origins"], Path(job["path"]))
    run = training.train(resolved, Path(job["folder"]), allow_scripts=job["allow_scripts"])
    if job["evaluate"]:
        evaluate_run(run, "tuned")


def do(work: Callable[[Job], None]) -> int:
    """Read the job, do it, and say what went wrong; 0, or the exit code of an error of ours.

    When stdin ends, as it does when the other process wants this one to stop or is gone, that is a Ctrl-C.
    """
    job = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    threading.Thread(target=_stop_with_stdin, daemon=True).start()
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries and data scripts print is for people
    error: EdgetuneError | None = None
    try:
        with memory_errors("try --micro-batch-size 1, --gradient-checkpointing or a smaller model"):
            work(job)
    except EdgetuneError as failure:
        error = failure
    except KeyboardInterrupt:
        error = Interrupted("interrupted")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends by itself now
    if error is None:
        return 0
    sys.stdout.flush()
    os.dup2(answer, sys.stdout.fileno())
    try:
        tell("error", error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
    except BrokenPipeError:  # who wanted to know is gone
        print(error.message, file=sys.stderr)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Python flushes at its end must not fail
    return error.exit_code


def _stop_with_stdin() -> None:
    # Not through sys.stdin: a thread that waits there keeps a lock that the end of the process needs.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(do(train))
