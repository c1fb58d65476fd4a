"""What `edgetune run recipes/smart-home/recipe.yaml` reached, read from finished runs' own files.

Usage: python benchmarks/smart-home/run.py [RUN]...; default: the newest trained runs/smart-home-*. Without any, the
recipe is run first, which takes a quarter of an hour. Of several runs the first is told in full, and all are listed:
minutes decide how many steps there are, so a recipe is known by more than one run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from recipe_runs import collect, machine_lines, newest_run, score_rows  # noqa: E402

from edgetune.run import open_run  # noqa: E402


def main() -> None:
    """Collect, store and publish."""
    runs = [open_run(Path(folder)) for folder in sys.argv[1:] or [newest_run("smart-home")]]
    found = collect(runs[0]) | {"runs": [_in_short(collect(run)) for run in runs]}
    cpu = next(iter(found["bench"].values()))["environment"]["cpu"]
    publishing.write_results(HERE / "results", found, cpu)
    publishing.put_into_readme(HERE / "README.md", page(found))


def _in_short(found: dict[str, Any]) -> dict[str, Any]:
    """One of several runs: what came out, after how many steps, on which machine."""
    (name,) = found["bench"]
    scores = {score["name"]: score for score in found["scores"][name]["scores"]}
    return {
        "created": found["created"],
        "subject": name,
        "n": found["scores"][name]["n"],
        "exact_match": scores["exact_match"],
        "training": found["training"],
        "cpu": found["bench"][name]["environment"]["cpu"],
    }


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    parts = [publishing.table(["", "rows", *KEYS], score_rows(found["scores"], KEYS))]
    if len(found["runs"]) > 1:
        parts.append(_repeats(found["runs"]))
    return "\n\n".join([*parts, *machine_lines(found)])


def _repeats(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        exact, training = run["exact_match"], run["training"]
        rate = f"{exact['value']:.4f} [{exact['low']:.3f}, {exact['high']:.3f}]"
        rows.append([run["created"], f"{training['seconds'] / 60:.1f}", str(training["steps"]), str(run["n"]), rate])
    mean = sum(run["exact_match"]["value"] for run in runs) / len(runs)
    listed = publishing.table(["run", "minutes", "steps", "rows", "exact_match of the file"], rows)
    return f"The same recipe, {len(runs)} times; the mean of exact_match is {mean:.4f}.\n\n{listed}"


KEYS = ("exact_match", "json_equal", "json_f1", "loss")

if __name__ == "__main__":
    publishing.exit_with(main)
