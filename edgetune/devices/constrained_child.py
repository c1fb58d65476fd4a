"""The constrained process: ``python -m edgetune.devices.constrained_child`` with a job as JSON on stdin.

It takes the limits upon itself before it loads anything, works, and answers with one JSON object on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetune.runtimes.protocol import Runtime


def main() -> int:
    """Do the job."""
    job = json.load(sys.stdin)
    _limit(job)
    from edgetune.bench.resident import resident
    from edgetune.errors import EdgetuneError
    from edgetune.runtimes import open_runtime

    try:
        runtime = open_runtime(Path(job["artifact"]), threads=job["threads"], context=job["context"])
        try:
            report: dict[str, Any] = _work(runtime, job)
        finally:
            runtime.close()
    except (EdgetuneError, MemoryError, OSError) as error:  # told to the parent, who says what it means
        report = {"error": str(error) or type(error).__name__}
    memory = resident()
    print(json.dumps(report | {name: memory[name] for name in ("peak_rss", "anonymous")}), flush=True)
    return 0


def _limit(job: dict[str, Any]) -> None:
    if job["cgroup"]:
        (Path(job["cgroup"]) / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    else:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (job["memory"], job["memory"]))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])


def _work(runtime: Runtime, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each repetition: a prompt computed whole, then tokens one by one. Stop tokens stop nothing.

    The first, which is not counted, brings weights and libraries in; storage is read later only for want of memory.
    """
    from edgetune.bench.resident import storage_bytes

    some = runtime.tokenizer.encode("The lamp in the kitchen is on. ") or [0]
    prompt = (some * (job["prompt"] // len(some) + 1))[: job["prompt"]]
    prefills, decodes = [], []
    before = None
    for repetition in range(job["repetitions"] + 1):
        if repetition == 1:
            before = storage_bytes()
        runtime.reset()
        tokens = list(prompt)
        begin = time.perf_counter()
        scores = runtime.logits(tokens, len(tokens) - 1)
        middle = time.perf_counter()
        for _ in range(job["new"]):
            tokens.append(int(scores[-1].argmax()))
            scores = runtime.logits(tokens, len(tokens) - 1)
        decodes.append(time.perf_counter() - middle)
        prefills.append(middle - begin)
    common = {"depth": 0, "threads": job["threads"]}
    tests = [
        {"prompt_tokens": job["prompt"], "new_tokens": 0, "samples_s": prefills[1:], **common},
        {"prompt_tokens": 0, "new_tokens": job["new"], "samples_s": decodes[1:], **common},
    ]
    now = storage_bytes()
    return {"tests": tests, "read_bytes": None if before is None or now is None else now - before}


if __name__ == "__main__":
    sys.exit(main())
