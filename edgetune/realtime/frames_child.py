"""The measured process: ``python -m edgetune.realtime.frames_child`` with a job as JSON on stdin.

Frames come where the model is, so that nothing but the model stands between a frame and its class.
"""

from __future__ import annotations

import sys

from edgetune.bench.classifying_child import open_job
from edgetune.bench.telling import Job, run_job, tell
from edgetune.classification import LoadedClassifier
from edgetune.realtime.clock import SystemClock
from edgetune.realtime.frames import frame_loop


def serve_frames(classifier: LoadedClassifier, job: Job, _ready: float) -> None:
    """Classify frames as they come, and report them when the source has ended."""
    inputs = job["inputs"]

    def classify(index: int) -> None:
        classifier.classify(inputs[index % len(inputs)])

    classify(0)  # the first inference warms up and is not counted
    loop = frame_loop(classify, job["rate"], job["count"], SystemClock(), done=job["done"], most=job["most"])
    tell("frames", loop=loop.model_dump(mode="json"))


if __name__ == "__main__":
    sys.exit(run_job(open_job, serve_frames))
