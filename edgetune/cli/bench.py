"""``edgetune bench``: start, latency, speed and memory of artifacts on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgetune import console
from edgetune.cli.lists import INTEGERS, WORDS


@click.command("bench")
@click.argument("subjects", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ARTIFACT|RUN...")
@click.option("--artifact", "names", metavar="NAME", multiple=True, help="Of a run: this export. Default: the largest.")
@click.option("--base", type=click.Path(path_type=Path), help="Of adapters: measure them on this base.")
@click.option(
    "--runtime", metavar="NAME", help="Of ONNX folders: onnxruntime or onnxruntime-genai. Default: their own."
)
@click.option("--torch", is_flag=True, help="Of a run: measure its trained model in torch too.")
@click.option("--prompts", type=click.IntRange(1), default=13, show_default=True, help="Requests to time in a round.")
@click.option("--new-tokens", type=click.IntRange(2), default=64, show_default=True, help="Longest answer.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Fresh processes, taken in turns.")
@click.option(
    "--threads",
    type=INTEGERS,
    default=(),
    help="Default: the physical cores it may use. Of classifiers several: try each.",
)
@click.option("--depths", type=INTEGERS, help="Tokens held before those timed. Default: 0,512,2048.")
@click.option("--prefill-threads", type=INTEGERS, default=(), help="Threads for prompts; several: try each.")
@click.option(
    "--decode-threads",
    type=INTEGERS,
    default=(),
    help="Threads for single tokens (llama.cpp) or all; several: try each.",
)
@click.option(
    "--kv-type", "kv_types", type=WORDS, default=(), help="Of the key-value cache: f16,q8_0; several: try each."
)
@click.option(
    "--batch",
    "batches",
    type=INTEGERS,
    default=(),
    help="Most tokens, or inputs of a classifier, in one go; several: try each.",
)
@click.option("--context", "contexts", type=INTEGERS, default=(), help="Tokens to open it for; several: try each.")
@click.option(
    "--sustained", type=click.FloatRange(0), default=0, metavar="MINUTES", help="Decode without a pause, too."
)
@click.option("--memory-budget", "memory_budget_mb", type=click.FloatRange(0), metavar="MB", help="Exit 9 above it.")
@click.option("--target", metavar="NAME|FILE", help="Hold it to a target's objectives: edgetune targets list.")
@click.option("--slo", type=click.Path(path_type=Path), metavar="FILE", help="Hold it to the objectives in this file.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="With objectives: requests a second, random; frames of a classifier.",
)
@click.option(
    "--seconds", type=click.FloatRange(1), default=180, show_default=True, help="With objectives: for timed requests."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole reports, raw samples included, as JSON.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Store the JSON report here; of several artifacts: NAME.json in it.",
)
def bench(
    subjects: tuple[Path, ...],
    seconds: float,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Measure artifacts, .gguf files, or exports of a RUN in fresh processes on this machine.

    Several are measured in turns and compared round by round. Prompts are the held-out rows of the first one's
    run, else a built-in handful. Nothing else should run meanwhile. With --target or --slo each is also asked the
    held-out rows of its own run, against a clock, and each objective gets a verdict; without --rate the highest rate
    of random requests that meets them all is looked for. Of what classifies, each frame of a camera is one input.
    Exit code 9 if an objective is missed, 15 if none is but one cannot be judged.
    """
    from edgetune.bench.command import Words, printed, require_budget, store
    from edgetune.realtime.command import bench_held, require_all_met

    reports = bench_held(Words(subjects, output=output, **options), seconds)
    try:
        if output:
            store(reports, output)
    finally:  # what took minutes is not lost with the place it was to be stored in
        console.data(printed(reports, as_json=as_json))
    require_budget(reports)
    require_all_met(reports)
