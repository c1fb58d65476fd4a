"""Several processes of tests (``make test`` starts them): how many, and each on processors of its own."""

from __future__ import annotations

import os

import pytest

from edgetune.memory import available_memory
from edgetune.runtimes.threads import allowed_cpus

#: Room for one process of tests on real weights.
_PROCESS_BYTES = 7 * 1024**3


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are processors, if memory allows; one process is pytest without workers."""
    fit = (available_memory() or _PROCESS_BYTES) // _PROCESS_BYTES
    found = min(len(allowed_cpus()), fit)
    return found if found > 1 else 0


def _keep_to_own_processors() -> None:
    """Threads that wait for each other spin: two processes on the same processors take many times as long as alone."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None or not hasattr(os, "sched_setaffinity"):
        return
    own = allowed_cpus()[int(worker.removeprefix("gw")) :: workers]
    if own:
        os.sched_setaffinity(0, own)


_keep_to_own_processors()
