"""Every figure of a benchmark: its unit, which way is better, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Definition:
    """What a figure is.

    Attributes:
        unit: of the figure.
        text: what it is.
        better: whether a lower or a higher one is better.
        tail: whether users wait for its slow end, so that percentiles are given.
        compared: whether runs are compared by it; not where another figure says the same, or it can be negative.
    """

    unit: str
    text: str
    better: Literal["lower", "higher"] = "lower"
    tail: bool = False
    compared: bool = True


_CACHE = (
    "key-value cache as it is allocated: by llama.cpp for the whole context, by ONNX runtimes for the tokens asked for"
)
_LOOP = "in the runtime's own loop, without template, tokeniser, sampler of ours and text"
DEFINITIONS: dict[str, Definition] = {
    "load_cold": Definition(
        "s", "process start → ready for a prompt; the files were dropped from the page cache before"
    ),
    "load_warm": Definition("s", "process start → ready for a prompt; the files were in the page cache"),
    "first_answer_cold": Definition(
        "s", "process start → first output token of the first answer, load_cold included", compared=False
    ),
    "first_answer_warm": Definition(
        "s", "process start → first output token of the first answer, load_warm included", compared=False
    ),
    "first_inference": Definition(
        "ms", "ttft of the first answer after a start - ttft of the same prompt later in that process", compared=False
    ),
    "ttft": Definition(
        "ms", "first output token visible - request scheduled; template and tokenisation included", tail=True
    ),
    "itl": Definition("ms", "every gap between consecutive output tokens of one answer, all answers pooled", tail=True),
    "itl_mean": Definition("ms", "of each request: (last token - first token) / (tokens - 1)", compared=False),
    "decode": Definition("tokens/s", "1 / itl_mean of each request", "higher"),
    "prefill": Definition(
        "tokens/s", "prompt tokens / (first output token - prompt tokenised) of each request", "higher"
    ),
    "e2e": Definition(
        "ms",
        "last output token visible - request scheduled; template, tokenisation, greedy choice and text included",
        tail=True,
    ),
    "e2e_raw": Definition("ms", f"time to compute the same prompt and the same tokens {_LOOP}", compared=False),
    "overhead_e2e": Definition("%", "of each request: (e2e - e2e_raw) / e2e_raw", compared=False),
    "itl_raw": Definition("ms", f"every gap of the same tokens {_LOOP}", compared=False),
    "decode_raw": Definition("tokens/s", f"1 / mean gap of the same tokens of each request {_LOOP}", "higher"),
    "prefill_raw": Definition("tokens/s", f"prompt tokens / time to compute them, of each request {_LOOP}", "higher"),
    "overhead_per_token": Definition(
        "%", "of each request: (median gap - median raw gap) / median raw gap of the same tokens", compared=False
    ),
    "peak_rss": Definition(
        "MB", "largest resident set of a process that loads and answers, mapped weights counted; own pass"
    ),
    "anonymous": Definition("MB", "resident memory that no file backs, when the answer had ended; own pass"),
    "file_backed": Definition("MB", "resident memory that files back, such as mapped weights; own pass"),
    "pss": Definition("MB", "resident memory, what is shared divided among those that share it; own pass"),
    "memory_weights": Definition("MB", "weights as the runtime holds them", compared=False),
    "memory_kv": Definition("MB", _CACHE, compared=False),
    "memory_compute": Definition("MB", "buffers for intermediate results and logits", compared=False),
    "energy_per_token": Definition(
        "J", "energy of the processor packages while answering / output tokens, prefill included"
    ),
}
#: Figures of the sweeps: ``prefill@depth=512``, ``decode@kv_type=q8_0``, ``latency@threads=2``.
AT: dict[str, Definition] = {
    "prefill": Definition(
        "tokens/s", f"{{prefill}} tokens / time to compute them after {{depth}} tokens, {_LOOP}", "higher"
    ),
    "decode": Definition("tokens/s", f"1 / mean gap of {{decode}} tokens after {{depth}} tokens, {_LOOP}", "higher"),
    "peak_rss": Definition("MB", "largest resident set of the process that measured it"),
    "memory_kv": Definition("MB", _CACHE, compared=False),
    "latency": Definition("ms", "class known - input given, one input at a time; its preparation included"),
    "batch_rate": Definition(
        "inputs/s", "inputs of a batch of {batch} / time until all their classes are known", "higher"
    ),
}
#: Figures of sustained decoding: of one process, so that there are no rounds to compare.
SUSTAINED: dict[str, Definition] = {
    "decode_sustained": Definition(
        "tokens/s", "tokens of each second over {minutes} minutes without a pause", "higher", compared=False
    ),
    "retention": Definition(
        "%",
        "mean rate of the last 30 s / mean rate of the first 30 s, over {minutes} minutes{short}",
        "higher",
        compared=False,
    ),
}
_GRAPH = "through the runtime alone, without preparation, softmax and names of classes"
_PREPARED = "preparation (of a text its tokenisation, of an image reading and resizing it) included"
#: What a classifier has of :data:`DEFINITIONS`, as it stands there.
SHARED = ("load_cold", "load_warm", "peak_rss", "anonymous", "file_backed", "pss")
#: Figures of a classifier besides :data:`SHARED`. An input is a text or an image.
CLASSIFYING: dict[str, Definition] = {
    "first_answer_cold": Definition(
        "s", "process start → class of the first input known, load_cold included", compared=False
    ),
    "first_answer_warm": Definition(
        "s", "process start → class of the first input known, load_warm included", compared=False
    ),
    "first_inference": Definition(
        "ms", "latency of the first input after a start - that of the same input later in that process", compared=False
    ),
    "latency": Definition("ms", f"class known - input given, one input at a time; {_PREPARED}", tail=True),
    "latency_raw": Definition("ms", f"time of the same inputs {_GRAPH}", compared=False),
    "overhead": Definition("%", "of each input: (latency - latency_raw) / latency_raw", compared=False),
    "batch_rate": Definition(
        "inputs/s", f"inputs of a batch of {{batch}} / time until all their classes are known; {_PREPARED}", "higher"
    ),
    "batch_rate_raw": Definition("inputs/s", f"inputs of the same batches / their time {_GRAPH}", "higher"),
}
#: What an application adds to its runtime: a small difference of two figures, so that its spread says nothing.
OVERHEADS = ("overhead_per_token", "overhead_e2e", "overhead")
#: What the published definition of retention asks for, in minutes.
RETENTION_MINUTES = 5


def is_compared(name: str) -> bool | None:
    """Whether runs are compared by a figure; None where the benchmark by itself has no such figure.

    >>> is_compared("decode@depth=512"), is_compared("itl_mean"), is_compared("first_clause")
    (True, False, None)
    """
    metric, varied, _ = name.partition("@")
    known = (AT if varied else DEFINITIONS | SUSTAINED | CLASSIFYING).get(metric)
    return None if known is None else known.compared
