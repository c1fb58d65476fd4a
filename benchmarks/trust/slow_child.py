"""The measured process with a slowdown planted: every computation of llama.cpp takes so much longer.

``PLANTED`` in the environment is the share, 0.05 for 5 %. The process waits as a slower kernel would: busily.
"""

from __future__ import annotations

import os
import sys
import time

from edgetune.bench import child
from edgetune.runtimes.llama_native import Batch, Context

_SHARE = float(os.environ["PLANTED"])
_honest = Context.compute


def _slower(self: Context, batch: Batch) -> None:
    start = time.monotonic()
    _honest(self, batch)
    end = time.monotonic()
    until = end + _SHARE * (end - start)
    while time.monotonic() < until:
        pass


Context.compute = _slower  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(child.main())
