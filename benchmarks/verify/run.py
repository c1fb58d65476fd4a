"""Every format and precision of the smart-home model, verified: size, divergence, what is left of fine-tune and task.

Usage: python benchmarks/verify/run.py [RUN]; default: the newest trained runs/smart-home-*. Stopped and
called again, it goes on: what was verified lies in runs/benchmark-verify. Delete that where edgetune changed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
GUIDE = HERE.parents[1] / "docs" / "guide" / "verify.md"
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune import files  # noqa: E402
from edgetune.artifact import Artifact  # noqa: E402
from edgetune.exporting import Source, Wanted, find_source, weighted  # noqa: E402
from edgetune.run import Run, open_run  # noqa: E402
from edgetune.runtimes.pairing import on_base  # noqa: E402
from edgetune.verification.record import Depth, Verification  # noqa: E402
from edgetune.verification.text import unjudged  # noqa: E402
from edgetune.verification.verify import Verifier  # noqa: E402

Way = Literal["merged", "imatrix", "separate"]

#: Way → format → precisions. merged: the adapter in the weights; imatrix: the same, rounding errors weighed by how
#: strongly inputs are used; separate: the adapter on a base of that precision.
VARIANTS: dict[Way, dict[str, tuple[str, ...]]] = {
    "merged": {
        "gguf": ("f16", "q8_0", "q6_k", "q5_k_m", "q5_0", "q4_k_m", "q4_1", "q4_0", "iq4_nl", "q3_k_m"),
        "onnx": ("fp32", "fp16", "int8", "int4_mixed", "int4_b16", "int4_last", "int4_gptq", "int4", "int4_rtn"),
    },
    "imatrix": {"gguf": ("q5_0", "q4_k_m", "q4_1", "q4_0", "iq4_nl", "q3_k_m")},
    "separate": {"gguf": ("q8_0", "q4_k_m"), "onnx": ("int8", "int4_mixed")},
}
#: What was verified already.
KEPT = publishing.REPOSITORY / "runs" / "benchmark-verify"
#: Rows for distributions, and rows that are answered: by the untuned base too, which seldom stops and so is slow.
DEPTH = Depth(rows=64, answers=240)


def main() -> None:
    """Export, verify, store and publish."""
    run = open_run(publishing.smart_home_run())
    machine = publishing.describe_machine(
        ("llama-cpp-python", "gguf", "onnxruntime", "onnxruntime-genai", "torch", "transformers", "peft")
    )
    verifier = Verifier(run, depth=DEPTH)
    found = {"created": publishing.now(), "machine": machine, "artifacts": []}
    for way, kind, precision in _variants():
        found["artifacts"].append({"way": way, "precision": precision, **verified(verifier, way, kind, precision)})
    publishing.write_results(HERE / "results", found, machine["cpu"])
    for place in (HERE / "README.md", GUIDE):
        publishing.put_into_readme(place, page(found))


def _variants() -> list[tuple[Way, str, str]]:
    return [(w, kind, name) for w, formats in VARIANTS.items() for kind, names in formats.items() for name in names]


def export_variant(run: Run, way: Way, kind: str, precision: str, folder: Path) -> Artifact:
    """One form of the run's model, below ``folder``."""
    source: Source = find_source(str(run.folder))
    if way == "separate":
        base, adapter = source.parts(Wanted(kind, separate=True, with_base=precision), folder / kind / precision)
        below = base.write()
        return on_base(adapter.write(), below)
    if way == "imatrix":
        source = weighted(source, kind, "auto", quants=(precision,))
    (part,) = source.parts(Wanted(kind, (precision,)), folder)
    return part.write()


def verified(verifier: Verifier, way: Way, kind: str, precision: str) -> dict[str, Any]:
    """Format, size of all files and verification of one form, kept or made now; no paths of the machine."""
    rows = verifier.depth.answers or "all"
    kept = KEPT / verifier.run.folder.name / f"{way}-{kind}-{precision}-{verifier.depth.rows}-{rows}.json"
    if kept.is_file():
        had: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if had["verification"]["basis_sha256"] == verifier.basis:
            return had
    with tempfile.TemporaryDirectory() as folder:
        artifact = export_variant(verifier.run, way, kind, precision, Path(folder))
        manifests = [one.manifest for one in (artifact, artifact.beneath) if one and one.manifest]
        stored = verifier.verify(artifact).model_dump(mode="json")
    found = {
        "format": manifests[0].format,
        "size_bytes": sum(manifest.size_bytes for manifest in manifests),
        "verification": {name: value for name, value in stored.items() if name != "sha256"},
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(kept, found)
    return found


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    rows = [_row(one) for one in found["artifacts"]]
    header = [
        "format",
        "precision",
        "adapter",
        "MB",
        "mean KL",
        "p99 KL",
        "same token",
        "fine-tune left, layers",
        "task left",
        "verdict",
    ]
    lines = [publishing.table(header, rows), f"Machine: {publishing.machine_line(found['machine'])}."]
    return "\n\n".join(lines)


def _row(one: dict[str, Any]) -> list[str]:
    verification = Verification.model_validate(one["verification"] | {"sha256": {}})
    figures = {check.name: check.figures for check in verification.checks}
    weights, apart, task = figures["weights"], figures["distributions"], figures["task"]
    left = f"{task['retention']:.3f} [{task['low']:.3f}, {task['high']:.3f}]" if task else "not judged"
    failed = ", ".join(check.name for check in verification.failed)
    return [
        one["format"],
        one["precision"],
        {"imatrix": "merged, imatrix"}.get(one["way"], one["way"]),
        f"{one['size_bytes'] / 1e6:.0f}",
        f"{apart['kl_mean']:.2g}",
        f"{apart['kl_p99']:.2g}",
        f"{apart['top1']:.1%}",
        f"{weights['kept_median']:.3f} ({weights['kept_min']:.3f} to {weights['kept_max']:.3f})",
        left,
        f"fails: {failed}"
        if failed
        else ", ".join(["passes", *(f"{name} undecided" for name in unjudged(verification))]),
    ]


if __name__ == "__main__":
    publishing.exit_with(main)
