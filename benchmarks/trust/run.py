"""Can `edgetune bench` be trusted? Cross-checks on one file in one run.

    python benchmarks/trust/run.py ARTIFACT     # a GGUF artifact; an hour on two idle cores

llama-bench beside the depth figures, in turns; the overhead a token; a planted 5 % slowdown; ten A/A runs.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from llama_bench import built, rates  # noqa: E402

from edgetune.artifact import Artifact, open_artifact  # noqa: E402
from edgetune.bench import processes  # noqa: E402
from edgetune.bench.comparing import compare  # noqa: E402
from edgetune.bench.plan import Plan  # noqa: E402
from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.bench.single_stream import bench_artifact  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.runtimes.threads import default_threads  # noqa: E402

DEPTHS = (0, 512)
PREFILL, DECODE = 128, 32
PLANTED = 0.05
AA_RUNS = 10
TURNS = 5
#: What the figures have to keep to.
AGREE, OVERHEAD, ALARMS = 0.05, 3.0, 1
PLAN = Plan(depths=DEPTHS, depth_prefill=PREFILL, depth_decode=DECODE, starts=0)


def main() -> None:
    """Measure, store, publish."""
    if len(sys.argv) != 2:
        raise EdgetuneError(
            "name a GGUF artifact", hint="benchmarks/trust/run.py runs/smart-home-3fa9c2d1/exports/q8_0"
        )
    artifact = open_artifact(Path(sys.argv[1]))
    machine = publishing.describe_machine(("llama-cpp-python",))
    result = {"created": publishing.now(), "machine": machine, "subject": artifact.name, **_measure(artifact)}
    publishing.write_results(HERE / "results", result, machine["cpu"])
    publishing.put_into_readme(HERE / "README.md", page(result))


def _measure(artifact: Artifact) -> dict[str, Any]:
    built()
    beside = list(_beside_llama_bench(artifact))
    runs = [bench_artifact(artifact, PLAN) for _ in range(AA_RUNS + 1)]
    with _slowed(PLANTED):
        slow = bench_artifact(artifact, PLAN)
    return {
        "beside": beside,
        "overhead": [report.figure("overhead_per_token").median for report in runs],
        "alarms": [_claims(runs[0], report) for report in runs[1:]],
        "planted": _claims(runs[-1], slow),
        "warnings": sorted({warning for report in runs for warning in report.warnings}),
    }


def _beside_llama_bench(artifact: Artifact) -> Iterator[dict[str, Any]]:
    """Both programs in turns, so that what the machine does meanwhile hits both."""
    once = Plan(
        prompts=1, rounds=1, starts=0, memory_rounds=0, depths=DEPTHS, depth_prefill=PREFILL, depth_decode=DECODE
    )
    for turn in range(TURNS):
        report = bench_artifact(artifact, once)
        for depth in DEPTHS:
            theirs = rates(artifact.main_file, threads=default_threads(), prefill=PREFILL, decode=DECODE, depth=depth)
            for name, rate in theirs.items():
                ours = report.figure(f"{name}@depth={depth}").median
                yield {"turn": turn, "figure": f"{name}@depth={depth}", "edgetune": ours, "llama-bench": rate}


def _claims(old: BenchReport, new: BenchReport) -> list[dict[str, Any]]:
    """Every difference that `edgetune compare` claims."""
    found = compare(old, new).differences
    return [{"name": d.name, "ratio": d.ratio.value, "verdict": d.verdict} for d in found if d.verdict != "same"]


@contextmanager
def _slowed(share: float) -> Iterator[None]:
    child, path = processes.CHILD, os.environ.get("PYTHONPATH", "")
    processes.CHILD = "slow_child"
    os.environ |= {"PLANTED": str(share), "PYTHONPATH": f"{HERE}{os.pathsep}{path}"}
    try:
        yield
    finally:
        processes.CHILD = child
        os.environ["PYTHONPATH"] = path


def page(result: dict[str, Any]) -> str:
    """The tables as Markdown."""
    rows = []
    for name in dict.fromkeys(one["figure"] for one in result["beside"]):
        some = [one for one in result["beside"] if one["figure"] == name]
        ours, theirs = (statistics.median(one[who] for one in some) for who in ("edgetune", "llama-bench"))
        apart = statistics.median(one["edgetune"] / one["llama-bench"] - 1 for one in some)
        rows.append([name, f"{ours:.1f}", f"{theirs:.1f}", f"{apart:+.1%}", _kept(abs(apart) <= AGREE)])
    parts = [publishing.table(["tokens/s", "edgetune", "llama-bench", "apart", f"within {AGREE:.0%}"], rows)]
    over = statistics.median(result["overhead"])
    alarms = sum(bool(claims) for claims in result["alarms"])
    worse = [claim["name"] for claim in result["planted"] if claim["verdict"] == "worse"]
    parts.append(f"Overhead a token: {over:.1f} % (at most {OVERHEAD:.0f} %: {_kept(over <= OVERHEAD)}).")
    parts.append(
        f"{len(result['alarms'])} A/A runs with a claim: {alarms} (at most {ALARMS}: {_kept(alarms <= ALARMS)})."
    )
    parts.append(
        f"A planted slowdown of {PLANTED:.0%} was found: {_kept(bool(worse))}, in {', '.join(worse) or 'nothing'}."
    )
    parts += [f"Warning: {warning}." for warning in result["warnings"]]
    return "\n\n".join([*parts, f"Machine: {publishing.machine_line(result['machine'])}."])


def _kept(yes: bool) -> str:
    return "yes" if yes else "**no**"


if __name__ == "__main__":
    publishing.exit_with(main)
