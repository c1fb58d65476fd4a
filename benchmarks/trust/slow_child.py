"""The measured process with a slowdown planted: every computation of llama.cpp takes so much longer.

``planted`` in the job is the share, 0.05 for 5 %; without it nothing is slower. The process waits as a slower kernel
would: busily.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from edgetune.bench import child
from edgetune.runtimes.llama_native import Batch, Context

_planted = 0.0
_honest_open, _honest = child.open_job, Context.compute


def _open(job: dict[str, Any]) -> Any:
    global _planted  # noqa: PLW0603  # one job a process
    _planted = job.pop("planted", 0.0)
    return _honest_open(job)


def _slower(self: Context, batch: Batch) -> None:
    start = time.monotonic()
    _honest(self, batch)
    end = time.monotonic()
    until = end + _planted * (end - start)
    while time.monotonic() < until:
        pass


child.open_job = _open
Context.compute = _slower  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(child.main())
