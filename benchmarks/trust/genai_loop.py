"""onnxruntime-genai's own loop, timed: append_tokens, then generate_next_token. Without a line of edgetune.

A job as JSON on stdin (``folder``, ``threads``, ``depth``, ``prefill``, ``decode``, ``repeat``, ``chunk``), figures as
JSON on stdout. Its examples make a generator for each prompt; this rewinds one, whose cache is then warm, and a prompt
goes in by ``chunk`` tokens at once, as edgetune does: the loops are compared, and not when memory is touched first.
"""

from __future__ import annotations

import json
import sys
import time

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
    room = job["depth"] + job["prefill"] + job["decode"] + 2
    words = og.Tokenizer(model).encode(TEXT)
    tokens = np.resize(np.asarray(words, np.int32), room)

    settings = og.GeneratorParams(model)
    settings.set_search_options(max_length=room, min_length=room, do_sample=False, repetition_penalty=1.0)
    generator = og.Generator(model, settings)

    def read(start: int, end: int) -> None:
        for at in range(start, end, job["chunk"]):
            generator.append_tokens(tokens[at : min(at + job["chunk"], end)])

    def timed(held: int, prefill: int, decode: int) -> tuple[float, list[float]]:
        """Seconds of ``prefill`` tokens after those that are held, and of each of ``decode`` tokens after those."""
        generator.rewind_to(0)
        read(0, held)
        start = time.perf_counter()
        read(held, held + prefill)
        generator.generate_next_token()  # chooses, and runs nothing
        took, steps = time.perf_counter() - start, []
        for _ in range(decode):
            start = time.perf_counter()
            generator.generate_next_token()
            steps.append(time.perf_counter() - start)
        return took, steps

    depth = job["depth"]
    timed(depth, job["prefill"], job["decode"])  # the first inference warms up, and the whole cache
    prefills, steps = [], []
    for _ in range(job["repeat"]):
        prefills.append(timed(depth, job["prefill"], 0)[0])
        steps += timed(max(depth, 1) - 1, 1, job["decode"])[1]
    rates = {"prefill": len(prefills) * job["prefill"] / sum(prefills), "decode": len(steps) / sum(steps)}
    json.dump(rates, sys.stdout)


if __name__ == "__main__":
    main()
