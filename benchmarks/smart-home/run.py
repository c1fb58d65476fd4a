"""What `edgetune run recipes/smart-home/recipe.yaml` reached, read from finished runs' own files.

Usage: python benchmarks/smart-home/run.py [RUN]...; default: the newest trained runs/smart-home-*. Without any, the
recipe is run first, which takes a quarter of an hour. Of several runs the first is told in full, and all are listed:
minutes decide how many steps there are, so a recipe is known by more than one run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.evaluation.figures import part  # noqa: E402
from edgetune.evaluation.record import Evaluation, load  # noqa: E402
from edgetune.recipe import resolve  # noqa: E402
from edgetune.run import Run, open_run  # noqa: E402

RECIPE = publishing.REPOSITORY / "recipes" / "smart-home" / "recipe.yaml"
SHOWN = ("load_warm", "ttft", "decode", "peak_rss")


def main() -> None:
    """Collect, store and publish."""
    runs = [open_run(Path(folder)) for folder in sys.argv[1:] or [newest_run()]]
    found = collect(runs[0]) | {"runs": [_in_short(collect(run)) for run in runs]}
    cpu = next(iter(found["bench"].values()))["environment"]["cpu"]
    publishing.write_results(HERE / "results", found, cpu)
    publishing.put_into_readme(HERE / "README.md", page(found))


def newest_run() -> Path:
    """The newest trained smart-home run below runs/; without one the recipe is run first, as `make quickstart` does.

    Raises:
        EdgetuneError: the recipe did not run to its end.
    """
    found = _trained_runs()
    if not found:
        command = [sys.executable, "-m", "edgetune", "run", str(RECIPE)]
        if subprocess.run(command, check=False).returncode != 0:
            raise EdgetuneError("the smart-home recipe did not run to its end", hint="its own message is above")
        found = _trained_runs()
    if not found:
        raise EdgetuneError("no trained smart-home run below runs/", hint="make quickstart")
    return found[-1]


def _trained_runs() -> list[Path]:
    """Those of the recipe as it is, none with settings of their own; oldest first."""
    recipe = resolve(RECIPE).recipe
    manifests = sorted(Path("runs").glob("smart-home-*/manifest.json"), key=lambda path: path.stat().st_mtime)
    runs = [open_run(path.parent) for path in manifests]
    return [run.folder for run in runs if run.manifest.state == "trained" and run.recipe == recipe]


def collect(run: Run) -> dict[str, Any]:
    """Figures, environment and raw benchmark samples of a run; no paths of the machine."""
    manifest = run.require_trained()
    evaluations = [load(path) for path in sorted((run.folder / "evaluations").glob("*.json"))]
    reports = [
        BenchReport.model_validate_json(path.read_bytes()) for path in sorted((run.folder / "bench").glob("*.json"))
    ]
    if not evaluations or not reports:
        raise EdgetuneError(f"{run.folder} was not evaluated to the end", hint="make quickstart")
    return {
        "created": manifest.created,
        "training": manifest.result,
        "versions": manifest.versions,
        "choices": manifest.choices,
        "data_sha256": manifest.data_sha256,
        "recipe": run.recipe.model_dump(mode="json"),
        "scores": {name: _scores(evaluation) for name, evaluation in _beside_the_base(evaluations).items()},
        "bench": {report.subject.name: report.model_dump(mode="json") for report in reports},
    }


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


def _beside_the_base(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """All evaluations by name, and each of more rows than the base again on the base's rows."""
    found = {evaluation.subject: evaluation for evaluation in evaluations}
    base = found.get("base")
    if base is None:
        return found
    larger = [e for e in evaluations if e.basis.data_sha256 == base.basis.data_sha256 and e.n > base.n]
    return found | {f"{e.subject}, the base's rows": part(e, base.basis.rows) for e in larger}


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    scores = [asdict(score) for score in evaluation.scores]
    return {"n": evaluation.n, "groups": evaluation.groups, "runtime": evaluation.runtime, "scores": scores}


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = []
    for subject, evaluation in found["scores"].items():
        scores = {s["name"]: s for s in evaluation["scores"]}
        cells = [f"{scores[k]['value']:.4f} [{scores[k]['low']:.3f}, {scores[k]['high']:.3f}]" for k in KEYS]
        rows.append([subject, str(evaluation["n"]), *cells])
    parts = [publishing.table(["", "rows", *KEYS], rows)]
    if len(found["runs"]) > 1:
        parts.append(_repeats(found["runs"]))
    training = found["training"]
    parts.append(
        f"Training: {training['seconds'] / 60:.1f} minutes, {training['steps']} steps, "
        f"{training['tokens_per_s']:.0f} tokens/s, peak {training['peak_rss'] / 1e9:.1f} GB."
    )
    for name, report in found["bench"].items():
        figures = [f for f in report["figures"] if f["name"] in SHOWN and f["median"] is not None]
        listed = "; ".join(f"{f['name']} {f['median']:.1f} {f['unit']} ({f['definition']})" for f in figures)
        parts.append(f"{name}: {report['subject']['size_bytes'] / 1e6:.1f} MB; {listed}.")
        parts.append(f"Machine: {publishing.machine_line(report['environment'])}.")
        parts += [f"Warning: {warning}." for warning in report["warnings"]]
    return "\n\n".join(parts)


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
