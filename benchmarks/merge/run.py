"""The smart-home adapter merged into each base it could go into, on all held-out rows.

Usage: python benchmarks/merge/run.py [RUN]; default: the newest trained runs/smart-home-*.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

import edgetune  # noqa: E402
from edgetune.merging.record import Form, MergeRecord  # noqa: E402
from edgetune.run import open_run  # noqa: E402

#: At least all held-out rows of the recipe.
ROWS = 1000
TITLES = {
    "unmerged": "unmerged",
    "base": "merged into the base as stored",
    "nf4": "merged into the base rounded to NF4",
}


def main() -> None:
    """Evaluate, store and publish."""
    run = open_run(publishing.smart_home_run())
    record = edgetune.merge(run, rows=ROWS, write=False)
    machine = publishing.describe_machine(("torch", "transformers", "peft"))
    found = {"created": publishing.now(), "machine": machine, "record": record.model_dump(mode="json")}
    publishing.write_results(HERE / "results", found, machine["cpu"])
    publishing.put_into_readme(HERE / "README.md", page(found))


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    record = MergeRecord.model_validate(found["record"])
    names = [score.name for score in record.forms[0].scores]
    head = ["", *(title for name in names for title in (name, "- unmerged"))]
    lines = [publishing.table(head, [_row(form) for form in record.forms])]
    lines.append(f"{record.rows} held-out rows in {record.groups} groups. Chosen: {record.reason}.")
    if record.rounding:
        ratio = record.rounding
        lines.append(
            f"‖W16 - dequant(W4)‖/‖ΔW‖ in a layer: median {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}, "
            f"{ratio.layers} layers)."
        )
    return "\n\n".join([*lines, f"Machine: {publishing.machine_line(found['machine'])}."])


def _row(form: Form) -> list[str]:
    differences = {one.name: one for one in form.differences}
    cells = [TITLES[form.name]]
    for score in form.scores:
        apart = differences.get(score.name)
        cells.append(f"{score.value:.4f}")
        cells.append(f"{apart.value:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]" if apart else "")
    return cells


if __name__ == "__main__":
    publishing.exit_with(main)
