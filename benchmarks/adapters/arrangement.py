"""One process of the benchmark: load, answer in turns, and report. Reads a job as JSON, writes a report as JSON.

load_s: from the first load to all being ready; in the page cache. switch_s: putting another adapter on, without the
prompt that follows. ttft_s: from the request, switch included, to the first piece of text. decode: tokens a second
between the first and the last token of an answer. peak_rss: largest resident set of the process; pss: proportional
set at the end, mapped weights counted.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetune
from edgetune.assistant import Assistant
from edgetune.machine import peak_rss

#: Gives the assistant for a language, ready to answer in it.
Turn = Callable[[str], Assistant]


def main() -> None:
    """Do the job that stands on standard input."""
    job = json.load(sys.stdin)
    start = time.perf_counter()
    turn = _separate(job) if "base" in job else _merged(job)
    load = time.perf_counter() - start
    asked = [(name, *pair) for pairs in zip(*_named(job["questions"]), strict=True) for name, pair in pairs]
    _answer(turn, asked[0][0], asked[0][1])  # the first inference warms up
    samples = [_answer(turn, name, question) for name, question, _ in asked]
    right = {
        name: statistics.mean(s["text"].strip() == e for s, (n, _, e) in zip(samples, asked, strict=True) if n == name)
        for name in job["questions"]
    }
    switches = [sample["switch_s"] for sample in samples] if "base" in job else [None]
    report = {
        "load_s": load,
        "switch_s": None if switches == [None] else statistics.median(switches),
        "ttft_s": statistics.median(sample["ttft_s"] for sample in samples),
        "decode": statistics.median(sample["decode"] for sample in samples if sample["decode"]),
        "peak_rss": peak_rss(),
        "pss": _pss(),
        "right": right,
        "answers": [sample["text"] for sample in samples],
    }
    print(json.dumps(report))


def _named(questions: dict[str, list[list[str]]]) -> list[list[tuple[str, list[str]]]]:
    return [[(name, pair) for pair in pairs] for name, pairs in questions.items()]


def _separate(job: dict[str, Any]) -> Turn:
    assistant = edgetune.load(job["base"], adapters=job["adapters"])

    def turn(name: str) -> Assistant:
        assistant.use(name)
        return assistant

    return turn


def _merged(job: dict[str, Any]) -> Turn:
    return {name: edgetune.load(path) for name, path in job["models"].items()}.__getitem__


def _answer(turn: Turn, name: str, question: str) -> dict[str, Any]:
    start = time.perf_counter()
    assistant = turn(name)
    switched = time.perf_counter()
    tokenizer = assistant.runtime.tokenizer
    prompt = tokenizer.encode(tokenizer.render(assistant.messages(question)))
    tokens, times = [], []
    for token in assistant.runtime.stream(prompt, assistant.decoding):
        tokens.append(token)
        times.append(time.perf_counter())
    return {
        "switch_s": switched - start,
        "ttft_s": times[0] - start,
        "decode": (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None,
        "text": tokenizer.decode(tokens),
    }


def _pss() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
