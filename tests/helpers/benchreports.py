"""Benchmark reports whose rounds are chosen."""

from __future__ import annotations

from edgetune.bench.samples import RequestSample
from edgetune.bench.schema import BenchReport, Environment, Figure, Settings, Subject
from edgetune.bench.statistics import median
from edgetune.bench.summary import Samples, figures

NAMES = {
    "load_warm": "s", "ttft": "ms", "decode": "tokens/s", "e2e": "ms", "decode_raw": "tokens/s", "peak_rss": "MB",
    "decode@depth=0": "tokens/s", "decode@depth=512": "tokens/s", "prefill@depth=512": "tokens/s",
}  # fmt: skip


def report(rounds, session=None, **settings) -> BenchReport:
    """A report with these rounds of each figure."""
    figures = [
        Figure(
            name=name, unit=NAMES[name], definition=name, better="higher" if "tokens" in NAMES[name] else "lower",
            median=median(values), samples=len(values), rounds=tuple(values),
        )
        for name, values in rounds.items()
    ]  # fmt: skip
    machine = Environment(
        cpu="x", architecture="x", features="", logical_cpus=2, usable_cpus=2, cgroup_cpus=None, governor=None,
        memory_bytes=1, load_average=0, system="x", versions={"llama-cpp-python": "1"},
    )  # fmt: skip
    given = {"runtime": "llama.cpp", "threads": 2, "prompts": 3, "prompt_source": "x", "new_tokens": 8, "starts": 1}
    return BenchReport(
        created="now", subject=Subject(name="a", path="a.gguf", sha256="0", size_bytes=1, precision=None),
        settings=Settings(**{**given, "session": session, **settings}), environment=machine,
        loads={"warm": (), "cold": ()}, requests=(), memory=(), figures=tuple(figures), warnings=(),
    )  # fmt: skip


def sampled(rates, requests=3) -> BenchReport:
    """A report whose figures follow from its samples: in each round some requests, decoded at one of these rates."""
    asked = [
        RequestSample(
            round=number, prompt=place, prompt_tokens=8, tokenised_s=0.001, finish="stop",
            token_s=tuple(0.05 + count / rate for count in range(8)),
        )
        for number, rate in enumerate(rates)
        for place in range(requests)
    ]  # fmt: skip
    plain = report({})
    found = figures(Samples(requests=asked), plain.settings)
    return plain.model_copy(update={"requests": tuple(asked), "figures": found})
