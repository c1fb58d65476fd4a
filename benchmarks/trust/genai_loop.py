"""onnxruntime-genai's own loop, timed as its examples write it. A process of its own, without a line of edgetune.

A job as JSON on stdin (``folder``, ``threads``, ``depths``, ``prefill``, ``decode``), figures as JSON on stdout.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import onnxruntime_genai as og

TEXT = "The heating in the living room goes on at six, and the lamp beside the door is to stay as it is. "


def main() -> None:
    """Rates of every depth."""
    job = json.load(sys.stdin)
    config = og.Config(job["folder"])
    threads = {"intra_op_num_threads": job["threads"]}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": threads}}}))
    model = og.Model(config)
    room = max(job["depths"]) + job["prefill"] + job["decode"] + 2
    words = og.Tokenizer(model).encode(TEXT)
    tokens = np.resize(np.asarray(words, np.int32), room)

    def timed(held: int, prefill: int, decode: int) -> tuple[float, list[float]]:
        """Seconds of ``prefill`` tokens after those that are held, and of each of ``decode`` tokens after those."""
        settings = og.GeneratorParams(model)
        settings.set_search_options(max_length=room, min_length=room, do_sample=False, repetition_penalty=1.0)
        generator = og.Generator(model, settings)
        if held:
            generator.append_tokens(tokens[:held])
        start = time.perf_counter()
        generator.append_tokens(tokens[held : held + prefill])
        generator.generate_next_token()  # chooses, and runs nothing
        took, steps = time.perf_counter() - start, []
        for _ in range(decode):
            start = time.perf_counter()
            generator.generate_next_token()
            steps.append(time.perf_counter() - start)
        return took, steps

    timed(0, job["prefill"], 1)  # the first inference warms up
    found: dict[str, Any] = {}
    for depth in job["depths"]:
        took, _ = timed(depth, job["prefill"], 0)
        _, steps = timed(max(depth, 1) - 1, 1, job["decode"])
        found[str(depth)] = {"prefill": job["prefill"] / took, "decode": 1 / statistics.median(steps)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
