"""A sweep over the sentiment recipe: what matters, what it gains over the recipe as it is, and was `suggest` right.

Usage: python benchmarks/sweep/run.py. Stopped and called again, it goes on in runs/benchmark-sweep.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune.recipe import resolve  # noqa: E402
from edgetune.recipes import shipped_recipe  # noqa: E402
from edgetune.sweep.record import Sweep  # noqa: E402
from edgetune.sweep.sweeping import sweep  # noqa: E402
from edgetune.sweep.text import to_text  # noqa: E402
from edgetune.sweep.wanted import Wanted  # noqa: E402

#: Trials enough for importance and agreement, each a quarter of an epoch of the recipe.
TRIALS, STEPS = 30, 60
FOLDER = publishing.REPOSITORY / "runs" / "benchmark-sweep"


def main() -> None:
    """Sweep, store and publish."""
    machine = publishing.describe_machine(("optuna", "torch", "transformers", "peft"))
    resolved = resolve(shipped_recipe("sentiment").file)
    done = sweep(resolved, Wanted(trials=TRIALS, limits={"max_steps": STEPS}), FOLDER)
    found = {"created": done.sweep.created, "machine": machine, "sweep": done.sweep.model_dump(mode="json")}
    publishing.write_results(HERE / "results", found, machine["cpu"])
    publishing.put_into_readme(HERE / "README.md", page(found))


def page(found: dict[str, Any]) -> str:
    """What the command prints, and the machine."""
    text = to_text(Sweep.model_validate(found["sweep"]))
    return f"```text\n{text}\n```\n\nMachine: {publishing.machine_line(found['machine'])}."


if __name__ == "__main__":
    publishing.exit_with(main)
