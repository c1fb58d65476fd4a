"""Finished runs of a shipped recipe, and what their own files say: scores, training, latency, memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetune.bench.schema import BenchReport
from edgetune.errors import EdgetuneError
from edgetune.evaluation.figures import part
from edgetune.evaluation.record import Evaluation, load
from edgetune.recipe import TaskSettings, resolve
from edgetune.recipes import shipped_recipe
from edgetune.run import Run, open_run

#: What is shown of a benchmark.
SHOWN = ("load_warm", "ttft", "decode", "latency", "batch_rate", "peak_rss")


def newest_run(name: str) -> Path:
    """The newest trained run of a recipe below runs/; without one the recipe is run first.

    Raises:
        EdgetuneError: the recipe did not run to its end.
    """
    recipe = shipped_recipe(name).file
    found = _trained_runs(name)
    if not found:
        command = [sys.executable, "-m", "edgetune", "run", str(recipe)]
        if subprocess.run(command, check=False).returncode != 0:
            raise EdgetuneError(f"the recipe {name} did not run to its end", hint="its own message is above")
        found = _trained_runs(name)
    if not found:
        raise EdgetuneError(f"no trained run of {name} below runs/", hint=f"edgetune run {name}")
    return found[-1]


def _trained_runs(name: str) -> list[Path]:
    """Those of the recipe as it is, none with settings of their own; oldest first."""
    recipe = resolve(shipped_recipe(name).file).recipe
    manifests = sorted(Path("runs").glob(f"{name}-*/manifest.json"), key=lambda path: path.stat().st_mtime)
    runs = [open_run(path.parent) for path in manifests]
    return [run.folder for run in runs if run.manifest.state == "trained" and run.recipe == recipe]


def evaluations_of(run: Run) -> dict[str, Evaluation]:
    """What is stored of a run by name, and each evaluation of more rows than the base's again on the base's rows.

    Raises:
        EdgetuneError: nothing is.
    """
    stored = [load(path) for path in sorted((run.folder / "evaluations").glob("*.json"))]
    if not stored:
        raise EdgetuneError(f"{run.folder} was not evaluated", hint=f"edgetune run {run.recipe.name}")
    return beside_the_base(stored)


def beside_the_base(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """All evaluations by name, and each of more rows than the base again on the base's rows."""
    found = {evaluation.subject: evaluation for evaluation in evaluations}
    base = found.get("base")
    if base is None:
        return found
    larger = [e for e in evaluations if e.basis.data_sha256 == base.basis.data_sha256 and e.n > base.n]
    return found | {f"{e.subject}, the base's rows": part(e, base.basis.rows) for e in larger}


def collect(run: Run) -> dict[str, Any]:
    """Figures, environment and raw benchmark samples of a run; no paths of the machine.

    Raises:
        EdgetuneError: the run was not evaluated or not measured.
    """
    manifest = run.require_trained()
    reports = [
        BenchReport.model_validate_json(path.read_bytes()) for path in sorted((run.folder / "bench").glob("*.json"))
    ]
    if not reports:
        raise EdgetuneError(f"{run.folder} was not measured", hint=f"edgetune run {run.recipe.name}")
    return {
        "created": manifest.created,
        "training": manifest.result,
        "versions": manifest.versions,
        "choices": manifest.choices,
        "data_sha256": manifest.data_sha256,
        "recipe": run.recipe.model_dump(mode="json"),
        "scores": {name: _scores(evaluation) for name, evaluation in evaluations_of(run).items()},
        "bench": {report.subject.name: report.model_dump(mode="json") for report in reports},
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    scores = [asdict(score) for score in evaluation.scores]
    return {"n": evaluation.n, "groups": evaluation.groups, "runtime": evaluation.runtime, "scores": scores}


def score_rows(scores: dict[str, Any], names: Sequence[str]) -> list[list[str]]:
    """Cells of a table: subject, rows, and each figure with its interval.

    Args:
        scores: as :func:`collect` gives them.
        names: of the figures.
    """
    rows = []
    for subject, evaluation in scores.items():
        known = {s["name"]: s for s in evaluation["scores"]}
        cells = [f"{known[k]['value']:.4f} [{known[k]['low']:.3f}, {known[k]['high']:.3f}]" for k in names]
        rows.append([subject, str(evaluation["n"]), *cells])
    return rows


def machine_lines(found: dict[str, Any]) -> list[str]:
    """How a collected run was trained, and how each artifact ran, on which machine."""
    import publishing

    training = found["training"]
    task = TaskSettings.model_validate(found["recipe"]["task"])
    speed = f"{training[task.speed_key]:.0f} {task.unit}s/s"
    lines = [
        (
            f"Training: {training['seconds'] / 60:.1f} minutes, {training['steps']} steps, "
            f"{speed}, peak {training['peak_rss'] / 1e9:.1f} GB."
        )
    ]
    for name, report in found["bench"].items():
        figures = [f for f in report["figures"] if f["name"] in SHOWN and f["median"] is not None]
        listed = "; ".join(f"{f['name']} {f['median']:.1f} {f['unit']} ({f['definition']})" for f in figures)
        took = "" if report.get("seconds") is None else f" Measured in {report['seconds']:.0f} s."
        lines.append(f"{name}: {report['subject']['size_bytes'] / 1e6:.1f} MB; {listed}.{took}")
        lines.append(f"Machine: {publishing.machine_line(report['environment'])}.")
        lines += [f"Warning: {warning}." for warning in report["warnings"]]
    return lines
