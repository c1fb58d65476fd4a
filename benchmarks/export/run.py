"""From an adapter to a GGUF file: the usual chain of tools and `edgetune export`, side by side.

    python benchmarks/export/run.py            # about ten minutes on two cores, 14 GB of disk while it runs
    python benchmarks/export/run.py --quick    # a tiny model, one turn; nothing is published

Each stage is a process of its own. Raw samples and the machine go to ``results/``; the tables in
README.md are made from that file.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from itertools import chain as chained
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]  # benchmarks are scripts, not a package

from closeness import compare  # noqa: E402
from edgetune_gguf.quantiser import default_threads  # noqa: E402
from model import FULL, SEED, TINY, Size, make_adapter, make_base  # noqa: E402
from publishing import (  # noqa: E402
    REPOSITORY,
    describe_machine,
    exit_with,
    newest_results,
    now,
    publish_tables,
    write_results,
)
from sources import converter  # noqa: E402
from stages import OURS, TARGETS, Inputs, Stage, chain, measure, ours  # noqa: E402
from tables import to_markdown  # noqa: E402

from edgetune import console, files  # noqa: E402

RESULTS = HERE / "results"
#: Everything a benchmark makes on the way; git ignores it.
WORK = REPOSITORY / "build" / "benchmarks" / "export"
PACKAGES = ("torch", "transformers", "peft", "safetensors", "numpy", "gguf", "llama-cpp-python")
#: At most this many bytes a parameter lie on the disk at once: base, merged, converted and five quantised files.
DISK = 12


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="of each contender (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, one turn, nothing published")
    parser.add_argument("--keep", action="store_true", help="leave models and files in build/benchmarks/export")
    parser.add_argument("--tables-only", action="store_true", help="write README.md's tables from the newest results")
    options = parser.parse_args()
    if options.quick:
        options.turns = 1
    if options.turns < 1:
        parser.error("--turns must be at least 1")
    return options


def main() -> None:
    options = parse()
    if options.tables_only:
        publish_tables(HERE, newest_results(RESULTS), to_markdown)
        return
    try:
        result = run(TINY if options.quick else FULL, options.turns)
    finally:
        if not options.keep:
            shutil.rmtree(WORK, ignore_errors=True)
    if options.quick:
        console.data(to_markdown(result))
        return
    target = write_results(RESULTS, result, result["environment"]["cpu"])
    console.note(f"results: {target}")
    publish_tables(HERE, target, to_markdown)


def run(size: Size, turns: int) -> dict[str, Any]:
    """Build the model, run both in turns, compare what they wrote; everything raw, nothing derived."""
    shutil.rmtree(WORK, ignore_errors=True)
    files.require_disk(WORK, DISK * size.parameters, "the benchmark")
    machine = describe_machine(PACKAGES)
    inputs = Inputs(WORK / "base", WORK / "adapter", converter(), default_threads())
    make_base(inputs.base, size)
    make_adapter(inputs.adapter, inputs.base, size)
    runs = list(_turns(inputs, turns))
    return {
        "kind": "edgetune-export-benchmark",
        "schema_version": 1,
        "created": now(),
        "settings": {
            "parameters": size.parameters,
            "rank": size.rank,
            "turns": turns,
            "threads": inputs.threads,
            "page_cache": "inputs read once before each process",
            "seed": SEED,
        },
        "environment": machine,
        "runs": runs,
        "closeness": compare(inputs.base, inputs.adapter, _ggufs(), WORK),
    }


def _turns(inputs: Inputs, turns: int) -> Iterator[dict[str, Any]]:
    """One after the other, the first of a turn being the last of the former."""
    with console.progress("Exporting", unit="processes") as bar:
        for turn in range(turns):
            both = [list(chain(inputs, WORK / "chain")), list(ours(inputs, WORK / OURS))]
            for stage in chained.from_iterable(both if turn % 2 == 0 else both[::-1]):
                bar.update(bar.done, f"Exporting: {stage.contender}, {stage.name}")
                yield _measure(stage, turn)
                bar.advance()


def _measure(stage: Stage, turn: int) -> dict[str, Any]:
    stage.writes.parent.mkdir(parents=True, exist_ok=True)
    return measure(stage, turn)


def _ggufs() -> dict[str, Path]:
    """The files of the last turn."""
    found = {}
    for target in TARGETS:
        found[f"{target}: {OURS}"] = next((WORK / OURS / target).rglob("*.gguf"))
        for how in ("converted", "quantised"):
            if (file := WORK / "chain" / f"{how}-{target}.gguf").is_file():
                found[f"{target}: {how}"] = file
    return found


if __name__ == "__main__":
    exit_with(main)
