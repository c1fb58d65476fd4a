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
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from equal_runs import sentences  # noqa: E402
from llama_bench import built, rates  # noqa: E402

from edgetune import console  # noqa: E402
from edgetune.artifact import Artifact, open_artifact  # noqa: E402
from edgetune.bench import processes  # noqa: E402
from edgetune.bench.comparing import compare  # noqa: E402
from edgetune.bench.plan import Plan  # noqa: E402
from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.bench.single_stream import bench_artifact, bench_subjects  # noqa: E402
from edgetune.bench.statistics import Ratio, mean_interval, ratio  # noqa: E402
from edgetune.bench.subjects import Measured, artifact_subject  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.runtimes.onnx_raw import CHUNK  # noqa: E402
from edgetune.runtimes.threads import default_threads  # noqa: E402

#: What the figures have to keep to.
PLANTED, AGREE, OVERHEAD, ALARMS = 0.05, 0.05, 3.0, 1
#: A slowdown of every token has to show in both.
SLOWED = ("decode_raw", "decode")
#: What is measured without other tools.
_ALONE = ("same", "same_in_turns", "planted", "yardsticks", "warnings")
TOOLS = {"llama.cpp": "llama-bench", "onnxruntime-genai": "onnxruntime-genai"}


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
    publishing.publish_tables(HERE, publishing.write_results(HERE / "results", result, machine["cpu"]), page)


def _newest_rest(machine: dict[str, Any]) -> dict[str, Any]:
    """What :func:`_alone` found last on a machine like this one."""
    stored = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in (HERE / "results").glob("*.json")]
    alike = [(one["created"], path.name, one) for path, one in stored if one["machine"]["cpu"] == machine["cpu"]]
    if not alike:
        raise EdgetuneError("no stored result is of a machine like this one", hint="leave --tools out")
    _, name, newest = max(alike, key=lambda one: one[0])
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


_COLUMNS = (
    "Speeds are medians over turns, each tool's by itself. `apart` is the mean of what the tools were apart within "
    "each turn, with Student's 95 % interval over the turns, so that it need not be the ratio of the two. Where the "
    "interval reaches across the limit, the answer is not certain."
)


def page(result: dict[str, Any]) -> str:
    """The tables as Markdown."""
    parts = [_COLUMNS]
    for tool in TOOLS.values():
        turns = [one for one in result["beside"] if one["tool"] == tool]
        parts += _tool_part(tool, turns) if turns else [f"Beside {tool}: not measured."]
    if "alone_of" in result:
        parts.append(f"What follows was measured before: [{result['alone_of']}](results/{result['alone_of']}).")
    parts += [_equal_part("at other times", result["same"])]
    if result.get("same_in_turns"):  # results of before have none
        parts += [_equal_part("in turns", result["same_in_turns"])]
    if result["same"]:
        parts.append(sentences(result))
    parts += [_planted_part(when, compared) for when, compared in result["planted"].items()]
    parts.append(_restlessness(result["yardsticks"]))
    warned = sorted({warning.partition(": ")[0] for warning in result["warnings"]})
    parts.append(
        f"Warned of in one run or more: {', '.join(warned) or 'nothing'}. The raw data has each with its figure."
    )
    return "\n\n".join([*parts, f"Machine: {publishing.machine_line(result['machine'])}."])


def _equal_part(when: str, runs: Sequence[list[dict[str, Any]]]) -> str:
    alarms = sum(any(one["verdict"] != "same" for one in compared) for compared in runs)
    return f"{len(runs)} A/A runs {when} with a claim: {alarms} (at most {ALARMS}: {_kept(alarms <= ALARMS)})."


def _planted_part(when: str, compared: list[dict[str, Any]]) -> str:
    worse = [one["name"] for one in compared if one["verdict"] == "worse"]
    return (
        f"A planted slowdown of {PLANTED:.0%}, measured {when}, was found in {' and '.join(SLOWED)}: "
        f"{_kept(set(SLOWED) <= set(worse))}. Said to be worse: {', '.join(worse) or 'nothing'}."
    )


def _restlessness(yardsticks: Sequence[Sequence[float]]) -> str:
    """How far the machine itself moved from one A/A run to the next."""
    means = [statistics.fmean(one) for one in yardsticks if one]
    if not means:
        return "How fast the machine itself was is not known."
    return f"Meanwhile the machine itself copied memory at {min(means):.1f} to {max(means):.1f} GB/s, a run's mean."


def _tool_part(tool: str, turns: list[dict[str, Any]]) -> list[str]:
    rows = []
    for name in dict.fromkeys(name for one in turns for name in one["rates"]):
        pairs = [one["rates"][name] for one in turns if name in one["rates"]]
        ours, theirs = (statistics.median(pair[who] for pair in pairs) for who in ("edgetune", "tool"))
        apart = ratio([pair["tool"] for pair in pairs], [pair["edgetune"] for pair in pairs], paired=True)
        interval = f"{apart.value - 1:+.1%} [{apart.low - 1:+.1%}, {apart.high - 1:+.1%}]"
        rows.append([name, f"{ours:.1f}", f"{theirs:.1f}", interval, _agrees(apart)])
    costs = [one["overhead"] for one in turns]
    over = statistics.fmean(costs)
    low, high = mean_interval(costs) or (over, over)
    certain = ", not certain" if low <= OVERHEAD < high else ""
    others = max(one["others_share"] or 0.0 for one in turns)
    count = len({one["turn"] for one in turns})
    return [
        publishing.table(["tokens/s", "edgetune", tool, "apart", f"within {AGREE:.0%}"], rows),
        (
            f"Overhead a token over its raw loop: {over:.1f} [{low:.1f}, {high:.1f}] % (at most {OVERHEAD:.0f} %: "
            f"{_kept(over <= OVERHEAD)}{certain}). "
            f"{count} turns of each depth; others used up to {others:.0%} of the CPUs meanwhile."
        ),
    ]


def _agrees(apart: Ratio) -> str:
    """Whether two rates are as like as they have to be, and whether these turns can tell."""
    inside = [abs(one - 1) <= AGREE for one in (apart.low, apart.value, apart.high)]
    crossed = not all(inside) if inside[1] else any(inside) or apart.low < 1 < apart.high
    return _kept(inside[1]) + (", not certain" if crossed else "")


def _kept(yes: bool) -> str:
    return "yes" if yes else "**no**"


if __name__ == "__main__":
    publishing.exit_with(main)
