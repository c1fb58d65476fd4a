"""Can `edgetune bench` be trusted? Cross-checks with the tools people know, on the same files, in one run.

    python benchmarks/trust/run.py ARTIFACT... [--quick | --tools]

A GGUF artifact is held beside llama-bench, an ONNX folder beside onnxruntime-genai's own loop, in turns; for both the
overhead a token. With the first one: ten A/A runs at other times, ten in turns with another of the same, and a planted
5 % slowdown (of llama.cpp, so give the GGUF first), once at another time and once in turns. --quick does a little of
everything, prints what it would publish, and stores nothing. --tools measures only beside the tools, and takes the rest
from the newest result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from llama_bench import built, rates  # noqa: E402
from trust_page import PLANTED, TOOLS, page  # noqa: E402

from edgetune import console  # noqa: E402
from edgetune.artifact import Artifact, open_artifact  # noqa: E402
from edgetune.bench import processes  # noqa: E402
from edgetune.bench.comparing import compare  # noqa: E402
from edgetune.bench.plan import Plan  # noqa: E402
from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.bench.single_stream import bench_artifact, bench_subjects  # noqa: E402
from edgetune.bench.subjects import Measured, artifact_subject  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.runtimes.onnx_raw import CHUNK  # noqa: E402
from edgetune.runtimes.threads import default_threads  # noqa: E402

#: What is measured without other tools.
_ALONE = ("same", "same_in_turns", "planted", "yardsticks", "warnings")


@dataclass(frozen=True)
class Size:
    """How much is measured: depths, tokens of each rate, turns beside a tool, A/A runs, prompts and rounds.

    Beside a tool more tokens are timed than a benchmark's default: a rate of a fifth of a second says little of 5 %.
    """

    depths: tuple[int, ...] = (0, 512)
    prefill: int = 128
    decode: int = 32
    beside_prefill: int = 512
    beside_decode: int = 128
    beside_prompts: int = 2
    repeat: int = 5
    turns: int = 10
    aa_runs: int = 10
    prompts: int = 10
    rounds: int = 5
    paired_prompts: int = 6
    paired_rounds: int = 24

    def plan(self, **changes: Any) -> Plan:
        """A benchmark of this size."""
        sizes = {"depths": self.depths, "depth_prefill": self.prefill, "depth_decode": self.decode}
        return Plan(**{**sizes, "prompts": self.prompts, "rounds": self.rounds, "starts": 0, **changes})


QUICK = Size(
    depths=(0, 32),
    prefill=16,
    decode=4,
    beside_prefill=16,
    beside_decode=4,
    beside_prompts=1,
    repeat=2,
    turns=3,
    aa_runs=1,
    prompts=2,
    rounds=3,
    paired_prompts=1,
    paired_rounds=3,
)


def main() -> None:
    """Measure, store, publish."""
    words = argparse.ArgumentParser(description="Cross-checks of edgetune bench.")
    words.add_argument("artifacts", nargs="*", type=Path, metavar="ARTIFACT", help="GGUF first, then an ONNX folder")
    words.add_argument("--quick", action="store_true", help="a little of everything, stored nowhere")
    words.add_argument("--tools", action="store_true", help="only beside the tools, the rest from the newest result")
    asked = words.parse_args()
    paths = asked.artifacts or [publishing.newest_smart_home_run() / "exports" / "q8_0"]
    artifacts = [open_artifact(path) for path in paths]
    for artifact in artifacts:
        if artifact.runtime not in TOOLS:
            raise EdgetuneError(f"{artifact.path} is for {artifact.runtime}", hint=f"give one for {' or '.join(TOOLS)}")
    if artifacts[0].runtime != "llama.cpp":
        raise EdgetuneError("the slowdown is planted in llama.cpp", hint="give a GGUF artifact first")
    machine = publishing.describe_machine(("llama-cpp-python", "onnxruntime-genai"))
    size = QUICK if asked.quick else Size()
    rest = _newest_rest(machine) if asked.tools else {}
    built()
    beside = [found for artifact in artifacts for found in _beside(artifact, size)]
    rest = rest or _alone(artifacts[0], size)
    subjects = [artifact.name for artifact in artifacts]
    result = {"created": publishing.now(), "machine": machine, "subjects": subjects, "beside": beside, **rest}
    if asked.quick:
        console.data(page(result))
        return
    stored = publishing.write_results(HERE / "results", result, machine["cpu"])
    publishing.publish_tables(HERE, stored, partial(page, series=list(_series(machine).values())))


def _series(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """File → what it holds, of every stored result that is of a machine like this one, the oldest first."""
    stored = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in (HERE / "results").glob("*.json")]
    alike = [(name, one) for name, one in stored if one["machine"]["cpu"] == machine["cpu"]]
    return dict(sorted(alike, key=lambda pair: pair[1]["created"]))


def _newest_rest(machine: dict[str, Any]) -> dict[str, Any]:
    """What :func:`_alone` found last on a machine like this one."""
    series = _series(machine)
    if not series:
        raise EdgetuneError("no stored result is of a machine like this one", hint="leave --tools out")
    name, newest = list(series.items())[-1]
    return {key: newest[key] for key in _ALONE if key in newest} | {"alone_of": newest.get("alone_of", name)}


def _alone(first: Artifact, size: Size) -> dict[str, Any]:
    """Equal runs, and a slowdown that is planted."""
    runs = [bench_artifact(first, size.plan()) for _ in range(size.aa_runs + 1)]
    honest = artifact_subject(first)
    equals = [_in_turns([honest, replace(honest, name=f"{honest.name}-again")], size) for _ in range(size.aa_runs)]
    slow = replace(honest, name=f"{honest.name}-slow", job={**honest.job, "planted": PLANTED})
    with _can_be_slow():
        (later,) = bench_subjects([slow], size.plan())
        planted = _in_turns([honest, slow], size, rounds=size.paired_rounds)
    return {
        "same": [_compared(runs[0], report) for report in runs[1:]],
        "same_in_turns": equals,
        "planted": {"at another time": _compared(runs[-1], later), "in turns": planted},
        "yardsticks": [report.environment.yardstick for report in runs],
        "warnings": sorted({warning for report in runs for warning in report.warnings}),
    }


def _in_turns(pair: Sequence[Measured], size: Size, **changes: Any) -> list[dict[str, Any]]:
    plan = size.plan(**{"prompts": size.paired_prompts, "depths": (), "memory_rounds": 0, **changes})
    return _compared(*bench_subjects(pair, plan))


def _beside(artifact: Artifact, size: Size) -> Iterator[dict[str, Any]]:
    """Both programs in turns, so that what the machine does meanwhile hits both; every second turn backwards.

    A turn is of one depth and some seconds: machines that others use too move within a minute.
    """
    longer = {"depth_prefill": size.beside_prefill, "depth_decode": size.beside_decode}
    for turn, depth in product(range(size.turns), size.depths):
        if turn % 2:
            theirs = _theirs(artifact, size, depth)
        plan = size.plan(
            depths=(depth,) * size.repeat, prompts=size.beside_prompts, rounds=1, memory_rounds=0, **longer
        )
        report = bench_artifact(artifact, plan)
        if not turn % 2:
            theirs = _theirs(artifact, size, depth)
        yield {
            "turn": turn,
            "tool": TOOLS[artifact.runtime],
            "overhead": report.figure("overhead_per_token").median,
            "rates": {
                f"{name}@depth={depth}": {"edgetune": rate, "tool": theirs[name]}
                for name, rate in _ours(report).items()
            },
            "others_share": report.environment.others_share,
        }


def _ours(report: BenchReport) -> dict[str, float]:
    """Rates over all repetitions together, as the tools give them: a machine that changes its pace is met by both."""
    prefilled = sum(one.prefill_tokens for one in report.depths) / sum(one.prefill_s for one in report.depths)
    steps = [step for one in report.depths for step in one.step_s]
    return {"prefill": prefilled, "decode": len(steps) / sum(steps)}


def _theirs(artifact: Artifact, size: Size, depth: int) -> dict[str, float]:
    """``prefill`` and ``decode``, tokens a second, by the tool that people know."""
    asked = {"threads": default_threads(), "prefill": size.beside_prefill, "decode": size.beside_decode}
    asked |= {"depth": depth, "repeat": size.repeat}
    if artifact.runtime == "llama.cpp":
        return rates(artifact.main_file, **asked)
    return _genai_rates(folder=str(artifact.path), chunk=CHUNK, **asked)


def _genai_rates(**job: Any) -> dict[str, float]:
    command = [sys.executable, str(HERE / "genai_loop.py")]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgetuneError(f"onnxruntime-genai's own loop failed: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _compared(old: BenchReport, new: BenchReport) -> list[dict[str, Any]]:
    """What `edgetune compare` says of every figure, with the rounds that it says it by."""
    return [
        asdict(one) | {"rounds": [report.figure(one.name).rounds for report in (old, new)]}
        for one in compare(old, new).differences
    ]


@contextmanager
def _can_be_slow() -> Iterator[None]:
    child, path = processes.CHILD, os.environ.get("PYTHONPATH", "")
    processes.CHILD = "slow_child"
    os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{path}"
    try:
        yield
    finally:
        processes.CHILD = child
        os.environ["PYTHONPATH"] = path


if __name__ == "__main__":
    publishing.exit_with(main)
