"""What is left of the task at 8 bits, 105 and 92 MB, in GGUF and ONNX, on every held-out row of the smart-home run.

Usage: python benchmarks/few-bits/run.py [RUN] [--stored FILE]; default: the newest trained runs/smart-home-*.

The untuned base answers every row too, and it seldom stops: that is most of the time this takes. Stopped and called
again, it goes on after the last file that was verified, as benchmarks/verify does. With --stored it measures nothing
and writes the page of a results file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune.run import open_run  # noqa: E402
from edgetune.verification.record import Depth, Verification  # noqa: E402
from edgetune.verification.verify import Verifier  # noqa: E402


class Goal(NamedTuple):
    """What a file has to keep.

    Attributes:
        name: for people.
        least: share of the gain that has to be left.
        variants: way, format, precision of the files that are held to it.
        megabytes: size that they have to keep to, in whole megabytes as sizes are shown; None: any.
    """

    name: str
    least: float
    variants: tuple[tuple[str, str, str], ...]
    megabytes: int | None = None


GOALS = (
    Goal("8 bits", 0.98, (("merged", "gguf", "q8_0"), ("merged", "onnx", "int8"))),
    Goal(
        "Q4_K_M's size, 105 MB",
        0.97,
        (
            ("imatrix", "gguf", "q4_k_m"),
            ("merged", "onnx", "int4_last"),
            ("merged", "onnx", "int4_gptq_last"),
            ("merged", "onnx", "int4_gptq"),
        ),
        105,
    ),
    Goal(
        "Q4_0's size, 92 MB",
        0.95,
        (
            ("imatrix", "gguf", "q4_0"),
            ("imatrix", "gguf", "iq4_nl"),
            ("imatrix", "gguf", "mixed_92mb"),
            ("merged", "onnx", "int4"),
            ("merged", "onnx", "int4_gptq"),
        ),
        92,
    ),
)
DEPTH = Depth(rows=64, answers=None)


def main() -> None:
    """Export, verify on all rows and store, unless results are given; and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="trained from the smart-home recipe")
    parser.add_argument("--stored", type=Path, help="publish these results")
    wanted = parser.parse_args()
    results = wanted.stored or _measured(wanted.run or publishing.newest_smart_home_run())
    publishing.publish_tables(HERE, results, page)


def _measured(folder: Path) -> Path:
    """The results file of a run."""
    matrix = publishing.benchmark("verify")
    machine = publishing.describe_machine(
        ("llama-cpp-python", "gguf", "onnxruntime", "onnxruntime-genai", "torch", "peft")
    )
    verifier = Verifier(open_run(folder), depth=DEPTH)
    found: dict[str, Any] = {"created": publishing.now(), "machine": machine, "artifacts": []}
    for way, kind, precision in dict.fromkeys(one for goal in GOALS for one in goal.variants):
        verified = matrix.verified(verifier, way, kind, precision)
        found["artifacts"].append({"way": way, "precision": precision} | verified)
    return publishing.write_results(HERE / "results", found, machine["cpu"])


def page(found: dict[str, Any]) -> str:
    """The table as Markdown: under each goal the files that were measured of those held to it."""
    measured = {(one["way"], one["format"], one["precision"]): one for one in found["artifacts"]}
    rows = [_row(goal, measured[one]) for goal in GOALS for one in goal.variants if one in measured]
    header = ["goal", "format", "precision", "MB", "mean KL", "rows", "task left", "goal reached"]
    return "\n\n".join([publishing.table(header, rows), f"Machine: {publishing.machine_line(found['machine'])}."])


def _row(goal: Goal, one: dict[str, Any]) -> list[str]:
    verification = Verification.model_validate(one["verification"] | {"sha256": {}})
    checks = {check.name: check.figures for check in verification.checks}
    task, apart = checks["task"], checks["distributions"]
    return [
        f"{goal.name}: {goal.least:.2f}",
        one["format"],
        one["precision"] + (", imatrix" if one["way"] == "imatrix" else ""),
        f"{one['size_bytes'] / 1e6:.0f}",
        f"{apart['kl_mean']:.2g}",
        f"{verification.depth.answers or 'all'}",
        f"{task['retention']:.3f} [{task['low']:.3f}, {task['high']:.3f}]",
        _reached(goal, task["retention"], one["size_bytes"]),
    ]


def _reached(goal: Goal, left: float, size_bytes: int) -> str:
    missed = [] if left >= goal.least else ["too little left"]
    missed += ["too large"] if goal.megabytes is not None and round(size_bytes / 1e6) > goal.megabytes else []
    return f"**no**: {', '.join(missed)}" if missed else "yes"


if __name__ == "__main__":
    publishing.exit_with(main)
