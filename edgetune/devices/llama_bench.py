"""The runner: llama.cpp's ``llama-bench``, built for the device. How it is called, and what it prints.

It must know ``-m -p -n -d -r -t -ngl -o json``; builds since April 2025 do (``-d`` came last). Rows of its JSON carry
``samples_ns``, the nanoseconds of each repetition: those are kept, not its averages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgetune.bench.statistics import mad, median
from edgetune.devices.report import Figure, Timing
from edgetune.errors import DeviceError

_DEFINITIONS = {
    "prefill": "prompt tokens / seconds to compute them, as llama-bench times it: no tokenisation, no sampling",
    "decode": "new tokens / seconds to compute them one by one, as llama-bench times it: no sampling",
}
_HINT = "the runner must be llama.cpp's llama-bench (April 2025 or newer), built for the device"


@dataclass(frozen=True)
class Load:
    """What is timed.

    Attributes:
        prompt, new: tokens of the two tests, prefill and decode.
        depths: tokens already in the context.
        repetitions: of each test.
    """

    prompt: int = 128
    new: int = 64
    depths: tuple[int, ...] = (0,)
    repetitions: int = 5


def arguments(model: str, load: Load, threads: int) -> list[str]:
    """The runner's options. Nothing is offloaded: the figures are the processor's."""
    words = ["-m", model, "-p", str(load.prompt), "-n", str(load.new), "-r", str(load.repetitions)]
    words += ["-t", str(threads), "-ngl", "0", "-o", "json"]
    return words + (["-d", ",".join(map(str, load.depths))] if load.depths != (0,) else [])


def parse(text: str) -> tuple[list[Timing], str]:
    """Tests, and the runner's build, from its JSON.

    Raises:
        DeviceError: it is not what llama-bench prints.
    """
    try:
        rows = json.loads(text)
        tests = [_test(row) for row in rows]
        build = f"llama-bench {rows[0].get('build_commit', '?')} ({rows[0].get('build_number', '?')})"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        shown = text.strip()[:80].replace("\n", " ") or "nothing"
        raise DeviceError(f"the runner printed no results: {shown}", hint=_HINT) from error
    return tests, build


def _test(row: dict[str, Any]) -> Timing:
    samples = [int(nanoseconds) / 1e9 for nanoseconds in row["samples_ns"]]
    if not samples or not all(sample > 0 for sample in samples):
        raise ValueError("no samples")
    return Timing(
        prompt_tokens=row["n_prompt"],
        new_tokens=row["n_gen"],
        depth=row.get("n_depth", 0),
        threads=row["n_threads"],
        samples_s=tuple(samples),
    )


def figures(tests: Sequence[Timing]) -> list[Figure]:
    """Tokens a second of each test, from its samples."""
    found = []
    for test in tests:
        if test.name not in _DEFINITIONS:
            continue
        rates = speeds(test)
        found.append(
            Figure(
                name=f"{test.name}_tps",
                unit="tokens/s",
                definition=_DEFINITIONS[test.name],
                depth=test.depth,
                median=median(rates),
                mad=mad(rates),
                samples=len(rates),
            )
        )
    return found


def speeds(test: Timing) -> list[float]:
    """Tokens a second of each repetition."""
    return [(test.prompt_tokens + test.new_tokens) / sample for sample in test.samples_s]


def spread(test: Timing) -> float:
    """Median absolute deviation over median of the repetitions."""
    middle = median(test.samples_s)
    return mad(test.samples_s) / middle if middle else math.nan


def slowdown(test: Timing) -> float:
    """How much longer the last repetition took than the first, as a share: heat shows so."""
    return test.samples_s[-1] / test.samples_s[0] - 1
