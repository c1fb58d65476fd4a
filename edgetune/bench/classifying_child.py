"""The measured process of a classifier: ``python -m edgetune.bench.classifying_child`` with a job as JSON on stdin.

As :mod:`edgetune.bench.child`, for what has no tokens to stream: an input goes in and a class comes out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgetune.artifact import open_artifact
from edgetune.bench.resident import resident, storage_bytes
from edgetune.bench.telling import Job, run_job, tell
from edgetune.classification import LoadedClassifier, load_classifier
from edgetune.machine import peak_rss
from edgetune.runtimes.classifier import Features, RunsRaw

#: Batches timed in a round.
REPEATS = 5


def start(classifier: LoadedClassifier, job: Job, ready: float) -> None:
    """Report when the process was ready and when its first class was known."""
    took = _timed(classifier, job["inputs"][:1])
    done = time.monotonic()
    tell(
        "load",
        ready_s=ready - job["started"],
        first_token_s=done - job["started"],
        first_request_s=took,
        storage_bytes=storage_bytes(),
    )


def one_round(classifier: LoadedClassifier, job: Job, ready: float) -> None:
    """A start, every input alone and again through the graph alone, and batches."""
    start(classifier, job, ready)
    _timed(classifier, job["inputs"][:1])  # warms up, not counted
    for number, one in enumerate(job["inputs"]):
        features, prepared = _prepared(classifier, [one])
        tokens = int(features["input_ids"].shape[1]) if features and "input_ids" in features else 0
        took = _timed(classifier, [one])
        tell("request", prompt=number, prompt_tokens=tokens, tokenised_s=prepared, token_s=[took], finish="stop")
        if features is not None:
            tell("raw", prompt=number, prompt_tokens=tokens, prefill_s=_raw(classifier, features), step_s=[])
    _batches(classifier, job["inputs"], job["batch"])
    tell("threads", threads=getattr(classifier.runtime, "threads", None))


def axis(classifier: LoadedClassifier, job: Job, _ready: float) -> None:
    """Latency and rate with one setting varied."""
    varied = {"axis": job["axis"], "value": job["value"]}
    _timed(classifier, job["inputs"][:1])  # warms up, not counted
    if job["axis"] == "threads":
        for one in job["inputs"]:
            tell("batch", inputs=1, done_s=_timed(classifier, [one]), raw_s=None, peak_rss=peak_rss(), **varied)
    _batches(classifier, job["inputs"], job["batch"], **varied)


def memory(classifier: LoadedClassifier, job: Job, _ready: float) -> None:
    """Classify the one input that is given and report what the process holds and held at most."""
    _timed(classifier, job["inputs"])
    reasons = dict.fromkeys(("weights", "kv", "compute"), "the runtime does not say")
    tell("memory", **resident(), python_only=job["python_only"], reasons=reasons)


MODES: dict[str, Callable[[LoadedClassifier, Job, float], None]] = {
    "start": start,
    "round": one_round,
    "axis": axis,
    "memory": memory,
}


def _batches(classifier: LoadedClassifier, inputs: Sequence[str], size: int, **varied: Any) -> None:
    """Batches of one size, the first of them not counted."""
    several = [inputs[number % len(inputs)] for number in range(size)]
    _timed(classifier, several)
    for _ in range(REPEATS):
        features, _ = _prepared(classifier, several)
        raw = None if features is None else _raw(classifier, features)
        tell("batch", inputs=size, done_s=_timed(classifier, several), raw_s=raw, peak_rss=peak_rss(), **varied)


def _timed(classifier: LoadedClassifier, inputs: list[str]) -> float:
    begun = time.monotonic()
    classifier.classify(inputs)
    return time.monotonic() - begun


def _prepared(classifier: LoadedClassifier, inputs: Sequence[str]) -> tuple[Features | None, float]:
    """What the graph takes for these inputs, and the seconds to make it; None where a runtime keeps it to itself."""
    begun = time.monotonic()
    runtime = classifier.runtime
    features = runtime.features(inputs) if isinstance(runtime, RunsRaw) else None
    return features, time.monotonic() - begun


def _raw(classifier: LoadedClassifier, features: Features) -> float:
    assert isinstance(classifier.runtime, RunsRaw), "it prepared them"
    begun = time.monotonic()
    classifier.runtime.compute(features)
    return time.monotonic() - begun


def open_job(job: Job) -> LoadedClassifier:
    """The classifier that a job wants.

    Raises:
        EdgetuneError: it cannot be opened.
    """
    return load_classifier(open_artifact(Path(job["artifact"])), threads=job.get("threads"))


def main() -> int:
    """Do the job on stdin."""
    return run_job(open_job, lambda classifier, job, ready: MODES[job["mode"]](classifier, job, ready))


if __name__ == "__main__":
    sys.exit(main())
