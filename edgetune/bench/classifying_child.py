"""The measured process of a classifier: ``python -m edgetune.bench.classifying_child`` with a job as JSON on stdin.

As :mod:`edgetune.bench.child`, for what has no tokens to stream: a text goes in and a class comes out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetune.artifact import open_artifact
from edgetune.bench.child import tell
from edgetune.bench.resident import resident, storage_bytes
from edgetune.errors import EdgetuneError
from edgetune.image_classifier import ImageClassifier
from edgetune.text_classifier import TextClassifier, load_classifier

Job = dict[str, Any]
#: Batches timed in a round.
REPEATS = 5


def start(classifier: TextClassifier | ImageClassifier, job: Job, ready: float) -> None:
    """Report when the process was ready and when its first class was known."""
    took = _timed(classifier, job["texts"][0])
    done = time.monotonic()
    tell(
        "load",
        ready_s=ready - job["started"],
        first_token_s=done - job["started"],
        first_request_s=took,
        storage_bytes=storage_bytes(),
    )


def one_round(classifier: TextClassifier | ImageClassifier, job: Job, ready: float) -> None:
    """A start, every text alone, and batches."""
    start(classifier, job, ready)
    _timed(classifier, job["texts"][0])  # warms up, not counted
    for number, text in enumerate(job["texts"]):
        begun = time.monotonic()
        tokens = len(classifier.runtime.encode(text))
        tokenised = time.monotonic() - begun
        seconds = _timed(classifier, text)
        tell(
            "request",
            prompt=number,
            prompt_tokens=tokens,
            tokenised_s=tokenised,
            token_s=[seconds],
            finish="stop",
        )
    several = [job["texts"][number % len(job["texts"])] for number in range(job["batch"])]
    _timed(classifier, several)
    for _ in range(REPEATS):
        tell("batch", texts=len(several), seconds=_timed(classifier, several))
    tell("threads", threads=getattr(classifier.runtime, "threads", None))


def memory(classifier: TextClassifier | ImageClassifier, job: Job, _ready: float) -> None:
    """Classify the longest text and report what the process holds and held at most."""
    _timed(classifier, max(job["texts"], key=len))
    reasons = dict.fromkeys(("weights", "kv", "compute"), "the runtime does not say")
    tell("memory", **resident(), python_only=job["python_only"], reasons=reasons)


MODES: dict[str, Callable[[TextClassifier | ImageClassifier, Job, float], None]] = {
    "start": start,
    "round": one_round,
    "memory": memory,
}


def _timed(classifier: TextClassifier | ImageClassifier, text: str | list[str]) -> float:
    begun = time.monotonic()
    classifier.classify(text)
    return time.monotonic() - begun


def main() -> int:
    """Do the job on stdin; 0, or the exit code of an error of ours."""
    job = json.load(sys.stdin)
    job["python_only"] = resident()["peak_rss"]
    try:
        classifier = load_classifier(open_artifact(Path(job["artifact"])), threads=job.get("threads"))
        ready = time.monotonic()
        with classifier:
            MODES[job["mode"]](classifier, job, ready)
    except EdgetuneError as error:
        tell("error", error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
