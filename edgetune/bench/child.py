"""The measured process: ``python -m edgetune.bench.child`` with a job as JSON on stdin.

A fresh process each time is the only way to measure a start, and memory that earlier work did not
leave behind. It answers on stdout with one JSON object a line, ``{"kind": …, …}``; an error of ours is such an
object too. Imports that an application would not have are left out, because their time would count.

A mode is a function of the opened assistant, the job and the moment it was ready. What classifies has a process of its
own: :mod:`edgetune.bench.classifying_child`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact, open_artifact
from edgetune.assistant import Assistant
from edgetune.bench.answering import answer, prompt_tokens
from edgetune.bench.looping import at_depths, steady, through_the_loop
from edgetune.bench.resident import resident, storage_bytes
from edgetune.bench.telling import Job, run_job, tell, wait_for_turn
from edgetune.energy import EnergyMeter
from edgetune.machine import peak_rss
from edgetune.runtimes import open_runtime
from edgetune.runtimes.pairing import on_base
from edgetune.runtimes.protocol import Decoding, LoopsRaw, Runtime, TellsMemory

Mode = Callable[[Assistant, Job, float], None]


def start(assistant: Assistant, job: Job, ready: float) -> None:
    """Report when the process was ready and when its first token was visible."""
    scheduled = time.monotonic()
    first = answer(assistant, assistant.messages(job["prompts"][0]), Decoding(max_new_tokens=1))
    took = first["token_s"][0] if first["token_s"] else time.monotonic() - scheduled
    tell(
        "load",
        ready_s=ready - job["started"],
        first_token_s=scheduled + took - job["started"],
        first_request_s=took,
        storage_bytes=storage_bytes(),
    )


def one_round(assistant: Assistant, job: Job, ready: float) -> None:
    """A start, every prompt answered alone and again in the runtime's own loop, and both rates at each depth."""
    start(assistant, job, ready)
    decoding = Decoding(max_new_tokens=job["new_tokens"])
    runtime = assistant.runtime
    answer(assistant, assistant.messages(job["prompts"][0]), decoding)  # warms up, not counted
    loop = runtime if isinstance(runtime, LoopsRaw) else None
    energy, joules, tokens = EnergyMeter(), 0.0, 0
    for number, prompt in enumerate(job["prompts"]):
        wait_for_turn(job)
        before = energy.joules() or 0.0
        conversation = assistant.messages(prompt)
        found = answer(assistant, conversation, decoding)
        joules += (energy.joules() or 0.0) - before
        tokens += len(found["token_s"])
        text = found.pop("tokens")
        tell("request", prompt=number, **found)
        if loop and text:
            tell("raw", prompt=number, **through_the_loop(loop, prompt_tokens(assistant, conversation), text))
    tell("energy", joules=None if energy.missing else joules, tokens=tokens, reason=energy.missing)
    if loop:
        wait_for_turn(job)
        for found in at_depths(assistant, job, job["depths"]):
            tell("depth", **found)
            wait_for_turn(job)
    tell("told", **told(runtime))


def memory(assistant: Assistant, job: Job, _ready: float) -> None:
    """Answer the longest prompt and report what the process holds and held at most, and for what."""
    decoding = Decoding(max_new_tokens=job["new_tokens"])
    longest = max(job["prompts"], key=lambda prompt: sum(len(str(message["content"])) for message in prompt))
    answer(assistant, assistant.messages(longest), decoding)
    found = resident()
    parts: dict[str, Any] = {"reasons": dict.fromkeys(("weights", "kv", "compute"), "the runtime does not say")}
    if isinstance(assistant.runtime, TellsMemory):
        known = assistant.runtime.memory_parts()
        parts = {
            "weights": known.weights,
            "kv": known.kv,
            "compute": known.compute,
            "reasons": dict(known.reasons),
        }
    tell("memory", **found, python_only=job["python_only"], **parts)


def axis(assistant: Assistant, job: Job, _ready: float) -> None:
    """Both rates at one depth, with one setting varied, and the memory that it takes."""
    runtime = assistant.runtime
    for found in at_depths(assistant, job, job["depths"]):
        peak = peak_rss()
        cache = runtime.memory_parts().kv if isinstance(runtime, TellsMemory) else None
        tell("axis", axis=job["axis"], value=job["value"], peak_rss=peak, kv=cache, **found)


def sustained(assistant: Assistant, job: Job, _ready: float) -> None:
    """Decode without a pause and report tokens a second."""
    energy = EnergyMeter()
    for second, count in enumerate(steady(assistant, job, seconds=60 * job["minutes"])):
        if second % 10 == 0:
            energy.joules()  # its counters wrap
        tell("second", tokens=count)
    tell("sustained", minutes=job["minutes"], joules=energy.joules(), reason=energy.missing)


MODES: dict[str, Mode] = {
    "start": start,
    "round": one_round,
    "memory": memory,
    "axis": axis,
    "sustained": sustained,
}


def told(runtime: Runtime) -> dict[str, Any]:
    """What the runtime says of itself."""
    names = ("threads", "prefill_threads", "batch")
    known = {name: getattr(runtime, name, None) for name in names}
    return {"features": getattr(runtime, "features", ""), "context": runtime.context_length, **known}


def open_job(job: Job) -> Runtime:
    """The runtime that a job wants, opened as it wants.

    Raises:
        EdgetuneError: it cannot be opened, or has no such setting.
    """
    if job.get("torch"):
        from edgetune.bench.torch_reference import open_reference

        return open_reference(Path(job["artifact"]), job)
    artifact = open_artifact(Path(job["artifact"]))
    if job.get("base"):
        artifact = on_base(artifact, open_artifact(Path(job["base"])))
    return open_runtime(
        _in_runtime(artifact, job.get("runtime")),
        threads=job.get("decode_threads"),
        context=job.get("context"),
        kv_cache=job.get("kv_type") or "f16",
        prefill_threads=job.get("prefill_threads"),
        batch=job.get("batch"),
    )


def _in_runtime(artifact: Artifact, runtime: str | None) -> Artifact:
    from edgetune.bench.subjects import in_runtime

    return artifact if runtime is None or runtime == artifact.runtime else in_runtime(artifact, runtime)


def main(do: Mode | None = None) -> int:
    """Do the job on stdin; 0, or the exit code of an error of ours.

    Args:
        do: default: the mode that the job names.
    """

    def chosen(assistant: Assistant, job: Job, ready: float) -> None:
        (do or MODES[job["mode"]])(assistant, job, ready)

    return run_job(lambda job: Assistant(open_job(job)), chosen)


if __name__ == "__main__":
    sys.exit(main())
