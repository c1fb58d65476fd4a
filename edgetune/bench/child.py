"""The measured process: ``python -m edgetune.bench.child`` with a job as JSON on stdin.

A fresh process each time is the only way to measure a start, and memory that earlier work did not
leave behind. It answers on stdout with one JSON object a line; an error of ours is such an object too.
Imports that an application would not have are left out, because their time would count.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgetune.assistant import Assistant
from edgetune.errors import EdgetuneError
from edgetune.machine import peak_rss
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Decoding, Message


def start(assistant: Assistant, job: dict[str, Any], ready: float) -> None:
    """Report when the process was ready and when its first token was visible."""
    conversation = assistant.messages(job["prompts"][0])
    first = answer(assistant, conversation, Decoding(max_new_tokens=1), since=job["started"])
    seconds = first["token_s"] or [time.monotonic() - job["started"]]
    _tell(ready_s=ready - job["started"], first_token_s=seconds[0], storage_bytes=storage_bytes())


def requests(assistant: Assistant, job: dict[str, Any], _ready: float) -> None:
    """Answer each prompt alone, after one that is not counted, and report each."""
    decoding = Decoding(max_new_tokens=job["new_tokens"])
    answer(assistant, assistant.messages(job["prompts"][0]), decoding)
    for prompt in job["prompts"]:
        _tell(**answer(assistant, assistant.messages(prompt), decoding))
    _tell(features=getattr(assistant.runtime, "features", ""))


def memory(assistant: Assistant, job: dict[str, Any], _ready: float) -> None:
    """Answer the longest prompt and report what the process holds and held at most."""
    decoding = Decoding(max_new_tokens=job["new_tokens"])
    longest = max(job["prompts"], key=lambda prompt: sum(len(str(message["content"])) for message in prompt))
    answer(assistant, assistant.messages(longest), decoding)
    _tell(**resident(), python_only=job["python_only"])


MODES = {"start": start, "requests": requests, "memory": memory}


def answer(
    assistant: Assistant, conversation: Sequence[Message], decoding: Decoding, since: float | None = None
) -> dict[str, Any]:
    """Answer one conversation with nothing kept from the last.

    Returns:
        The fields of :class:`~edgetune.bench.schema.RequestSample`; seconds count from ``since``, else from now.
    """
    runtime, tokenizer = assistant.runtime, assistant.runtime.tokenizer
    runtime.reset()
    scheduled = time.monotonic() if since is None else since
    prompt = tokenizer.encode(tokenizer.render(conversation))
    tokenised = time.monotonic() - scheduled
    seconds = []
    for token in runtime.stream(prompt, decoding):
        tokenizer.decode([token])  # a token is visible when it is text
        seconds.append(time.monotonic() - scheduled)
    finish = "length" if len(seconds) == decoding.max_new_tokens else "stop"
    return {"prompt_tokens": len(prompt), "tokenised_s": tokenised, "token_s": seconds, "finish": finish}


def resident(proc: Path = Path("/proc/self")) -> dict[str, int | None]:
    """Peak and present memory of this process in bytes; only the peak where there is no ``/proc``."""
    status, rollup = _kilobytes(proc / "status"), _kilobytes(proc / "smaps_rollup")
    return {
        "peak_rss": peak_rss(proc),
        "anonymous": status.get("RssAnon"),
        "file_backed": status.get("RssFile"),
        "pss": rollup.get("Pss"),
    }


def storage_bytes(proc: Path = Path("/proc/self")) -> int | None:
    """Bytes that this process made the kernel fetch from storage; None where that is not counted."""
    try:
        lines = (proc / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


def _kilobytes(path: Path) -> dict[str, int]:
    """``Name:  123 kB`` lines as bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(count) * 1024 for name, count, _ in (word for word in words if len(word) == 3)}


def _tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    """Do the job on stdin; 0, or the exit code of an error of ours."""
    job = json.load(sys.stdin)
    job["python_only"] = resident()["peak_rss"]
    try:
        runtime = open_runtime(Path(job["artifact"]), threads=job["threads"])
        ready = time.monotonic()
        with Assistant(runtime) as assistant:
            MODES[job["mode"]](assistant, job, ready)
    except EdgetuneError as error:
        _tell(error=type(error).__name__, message=error.message, hint=error.hint, problems=error.problems)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
