"""What `edgetune run sentiment` and `edgetune run digits` reached, read from finished runs' own files.

Usage: python benchmarks/classifiers/run.py [RUN …]; default: the newest trained run of each recipe, which is run first
where there is none: about a quarter of an hour each. The page shows the newest results of each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from recipe_runs import collect, machine_lines, newest_run, score_rows  # noqa: E402

from edgetune.artifact import is_artifact, read_artifact  # noqa: E402
from edgetune.run import Run, open_run  # noqa: E402
from edgetune.verification.record import load  # noqa: E402

RECIPES = ("sentiment", "digits")
KEYS = ("accuracy", "macro_f1", "loss")


def main() -> None:
    """Collect, store and publish."""
    runs = [open_run(Path(name)) for name in sys.argv[1:]] or [open_run(newest_run(name)) for name in RECIPES]
    for run in runs:
        found = collect(run) | {"verified": verdicts(run)}
        cpu = next(iter(found["bench"].values()))["environment"]["cpu"]
        publishing.write_results(HERE / "results", found, cpu)
    newest = publishing.newest_of_each(HERE / "results", lambda one: str(one["recipe"]["name"]))
    publishing.put_into_readme(
        HERE / "README.md", "\n\n".join(page(newest[name]) for name in RECIPES if name in newest)
    )


def verdicts(run: Run) -> dict[str, str]:
    """Artifact → the checks that it failed, or that it is verified."""
    found = {}
    for artifact in (read_artifact(path) for path in sorted(run.exports_folder.iterdir()) if is_artifact(path)):
        verification = load(artifact)
        if verification is not None:
            failed = ", ".join(check.name for check in verification.failed)
            found[artifact.name] = "yes" if verification.passed else f"**no**: {failed}"
    return found


def page(found: dict[str, Any]) -> str:
    """The figures of one recipe as Markdown."""
    rows = [[*row, found["verified"].get(row[0], "")] for row in score_rows(found["scores"], KEYS)]
    table = publishing.table(["", "rows", *KEYS, "verified"], rows)
    return "\n\n".join([f"### {found['recipe']['name']}", table, *machine_lines(found)])


if __name__ == "__main__":
    publishing.exit_with(main)
