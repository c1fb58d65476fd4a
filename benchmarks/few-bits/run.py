"""What is left of the task at 8 bits, 105 and 92 MB, in GGUF and ONNX, on every held-out row of the smart-home run.

Usage: python benchmarks/few-bits/run.py [RUN]; default: the newest trained runs/smart-home-*.

The untuned base answers every row too, and it seldom stops: that is most of the time this takes. Stopped and called
again, it goes on after the last file that was verified, as benchmarks/verify does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune.run import open_run  # noqa: E402
from edgetune.verification.record import Depth, Verification  # noqa: E402
from edgetune.verification.verify import Verifier  # noqa: E402

#: (goal, smallest share of the gain that has to be left) → (way, format, precision).
GOALS = {
    ("8 bits", 0.98): (("merged", "gguf", "q8_0"), ("merged", "onnx", "int8")),
    ("Q4_K_M's size, 105 MB", 0.97): (
        ("imatrix", "gguf", "q4_k_m"),
        ("merged", "onnx", "int4_last"),
        ("merged", "onnx", "int4_gptq_last"),
    ),
    ("Q4_0's size, 92 MB", 0.95): (
        ("imatrix", "gguf", "q4_0"),
        ("imatrix", "gguf", "iq4_nl"),
        ("imatrix", "gguf", "mixed_92mb"),
        ("merged", "onnx", "int4"),
        ("merged", "onnx", "int4_gptq"),
    ),
}
DEPTH = Depth(rows=64, answers=None)


def main() -> None:
    """Export, verify on all rows, store and publish."""
    matrix = publishing.benchmark("verify")
    run = open_run(publishing.smart_home_run())
    machine = publishing.describe_machine(
        ("llama-cpp-python", "gguf", "onnxruntime", "onnxruntime-genai", "torch", "peft")
    )
    verifier = Verifier(run, depth=DEPTH)
    found: dict[str, Any] = {"created": publishing.now(), "machine": machine, "artifacts": []}
    for (goal, least), variants in GOALS.items():
        for way, kind, precision in variants:
            judged = {"goal": goal, "least": least, "way": way, "precision": precision}
            found["artifacts"].append(judged | matrix.verified(verifier, way, kind, precision))
    publishing.publish_tables(HERE, publishing.write_results(HERE / "results", found, machine["cpu"]), page)


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    rows = [_row(one) for one in found["artifacts"]]
    header = ["goal", "format", "precision", "MB", "mean KL", "rows", "task left", "goal reached"]
    return "\n\n".join([publishing.table(header, rows), f"Machine: {publishing.machine_line(found['machine'])}."])


def _row(one: dict[str, Any]) -> list[str]:
    verification = Verification.model_validate(one["verification"] | {"sha256": {}})
    checks = {check.name: check.figures for check in verification.checks}
    task, apart = checks["task"], checks["distributions"]
    return [
        f"{one['goal']}: {one['least']:.2f}",
        one["format"],
        one["precision"] + (", imatrix" if one["way"] == "imatrix" else ""),
        f"{one['size_bytes'] / 1e6:.0f}",
        f"{apart['kl_mean']:.2g}",
        f"{verification.depth.answers or 'all'}",
        f"{task['retention']:.3f} [{task['low']:.3f}, {task['high']:.3f}]",
        "yes" if task["retention"] >= one["least"] else "**no**",
    ]


if __name__ == "__main__":
    publishing.exit_with(main)
