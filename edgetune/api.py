"""The functions behind ``edgetune.NAME``: what the commands call, with friendlier arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact, open_artifact
from edgetune.errors import ArtifactError
from edgetune.recipe import Origin, Resolved, resolve
from edgetune.recipes import find_recipe
from edgetune.run import Run, is_run
from edgetune.sources import default_folder

# `run`, `bench` and `sweep` are modules of this package, and a module hides a function of its name.
__all__ = [
    "benchmark",
    "compare_methods",
    "evaluate",
    "export",
    "load",
    "merge",
    "resume",
    "run_recipe",
    "suggest",
    "sweep_recipe",
    "train",
    "verify",
    "write_report",
]


def load(path: str | Path, **options: Any) -> Any:
    """Load an artifact for use in an application.

    Args:
        path: an artifact folder or a .gguf file.
        options: of :func:`edgetune.assistant.load`, or of :func:`edgetune.classification.load_classifier`.

    Returns:
        :class:`edgetune.assistant.Assistant`; of a classifier :class:`edgetune.classification.LoadedClassifier`.

    Raises:
        ArtifactError: not an artifact, or damaged.
        MissingExtra: the runtime is not installed.
    """
    from edgetune import assistant, classification

    artifact = open_artifact(Path(path))
    if artifact.manifest is not None and artifact.manifest.task != "generation":
        return classification.load_classifier(artifact, **options)
    return assistant.load(path, **options)


def train(recipe: str | Path, *, output: Path | None = None, allow_scripts: bool = False, **overrides: Any) -> Run:
    """Train as a recipe says.

    Args:
        recipe: a file, or the name of a recipe that comes with edgetune.
        output: run folder; default ``runs/NAME-HASH``.
        allow_scripts: let the recipe run a data script that is not edgetune's own.
        overrides: parts of the recipe to change, such as ``train={"max_steps": 10}`` or ``name="mine"``.
    """
    from edgetune import training

    resolved = _resolve(recipe, overrides)
    return training.train(resolved, output or default_folder(resolved), allow_scripts=allow_scripts)


def run_recipe(recipe: str | Path, *, output: Path | None = None, allow_scripts: bool = False, **overrides: Any) -> Any:
    """Train, export, evaluate and measure as a recipe says; arguments as for :func:`train`.

    Returns:
        :class:`edgetune.pipeline.PipelineResult`.
    """
    from edgetune import pipeline

    resolved = _resolve(recipe, overrides)
    return pipeline.run_recipe(resolved, output or default_folder(resolved), allow_scripts=allow_scripts)


def suggest(
    recipe: str | Path,
    *,
    rows: int | None = None,
    output: Path | None = None,
    allow_scripts: bool = False,
    **overrides: Any,
) -> Any:
    """Guess which layers an adapter should change and at which rank, without training.

    Args:
        recipe: as for :func:`train`.
        allow_scripts: likewise.
        overrides: likewise.
        rows: training rows to look at; default: as the command.
        output: a recipe to write with what is proposed.

    Returns:
        :class:`edgetune.sensitivity.suggesting.Suggested`: ``suggestion``, the ``file`` that holds it, and the
        ``recipe`` that was written; None where nothing is proposed.

    Raises:
        RecipeError: ``output`` exists, or the method trains no adapter.
        DataError, ModelError, ResourceError: as in training.
    """
    from edgetune.sensitivity import ROWS
    from edgetune.sensitivity.suggesting import Wanted
    from edgetune.sensitivity.suggesting import suggest as suggest_for

    wanted = Wanted(rows=ROWS if rows is None else rows, output=output, allow_scripts=allow_scripts)
    return suggest_for(_resolve(recipe, overrides), wanted)


def sweep_recipe(
    recipe: str | Path,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Any:
    """Train a recipe under many settings and write the best as a recipe; called again, it goes on.

    Args:
        recipe: as for :func:`train`.
        overrides: likewise.
        trials: complete or pruned ones to have in the end.
        minutes: after which it stops. One of both is needed.
        output: folder; default: ``sweeps/NAME-HASH``.
        options: further fields of :class:`edgetune.sweep.wanted.Wanted`: ``workers``, ``ranks``, ``limits``…

    Returns:
        :class:`edgetune.sweep.sweeping.Swept`: ``sweep``, its ``folder`` and the ``best_recipe``, None where no
        trial came to its end.

    Raises:
        EdgetuneError: as :func:`edgetune.sweep.sweeping.sweep`.
    """
    from edgetune.sweep.sweeping import sweep
    from edgetune.sweep.wanted import Wanted

    wanted = Wanted(trials=trials, minutes=minutes, **(options or {}))
    return sweep(_resolve(recipe, overrides), wanted, output)


def compare_methods(
    recipe: str | Path,
    *,
    output: Path | None = None,
    allow_scripts: bool = False,
    options: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Any:
    """Train a recipe by several methods from several seeds; called again, it goes on.

    Args:
        recipe: as for :func:`train`.
        allow_scripts: likewise.
        overrides: likewise.
        output: folder; default: ``runs/compare-methods/NAME``.
        options: fields of :class:`edgetune.methods.planning.Wanted`: ``methods``, ``seeds``, ``budget``…

    Returns:
        :class:`edgetune.methods.record.MethodsComparison`.

    Raises:
        EdgetuneError: as :func:`edgetune.methods.comparing.compare_methods`.
    """
    from edgetune.methods import comparing
    from edgetune.methods.planning import Wanted
    from edgetune.methods.printing import write_charts

    resolved = _resolve(recipe, overrides)
    folder = output or comparing.default_folder(resolved.recipe.name)
    found = comparing.compare_methods(resolved, Wanted(**(options or {})), folder, allow_scripts=allow_scripts)
    write_charts(found, folder)
    return found


def resume(folder: str | Path) -> Run:
    """Go on with an interrupted run."""
    from edgetune import training

    return training.resume(Path(folder))


def export(
    run: Run | str | Path, format: str = "gguf", quant: str | None = None, output: Path | None = None
) -> Artifact:
    """Export a trained run in one precision; default: the format's, eight bits."""
    from edgetune import exporting
    from edgetune.run import open_run

    return exporting.export(run if isinstance(run, Run) else open_run(Path(run)), format, quant, output)


def evaluate(run: Run | str | Path, subject: str | Path = "tuned", *, limit: int | None = None) -> Any:
    """Evaluate a run's ``base``, its ``tuned`` model or one of its artifacts on the held-out rows.

    Returns:
        :class:`edgetune.evaluation.record.Evaluation`.
    """
    from edgetune.evaluation.subjects import evaluate_run
    from edgetune.run import open_run

    opened = run if isinstance(run, Run) else open_run(Path(run))
    if subject == "base":
        return evaluate_run(opened, "base", limit=limit)
    if subject == "tuned":
        return evaluate_run(opened, "tuned", limit=limit)
    return evaluate_run(opened, Path(subject), limit=limit)


def merge(run: Run | str | Path, *, output: str | Path | None = None, **options: Any) -> Any:
    """Merge a run's adapter into the base it belongs into, and write the model as a Hugging Face folder.

    Args:
        run: trained with an adapter.
        output: folder of the merged model; default: ``merged`` in the run.
        options: other fields of :class:`edgetune.merging.merge.Wanted`: ``into``, ``rows``, ``quick``, ``write``.

    Returns:
        :class:`edgetune.merging.record.MergeRecord`, the choice with its evidence.
    """
    from edgetune.merging.merge import Wanted
    from edgetune.merging.merge import merge as merge_run
    from edgetune.run import open_run

    wanted = Wanted(output=Path(output) if output is not None else None, **options)
    return merge_run(run if isinstance(run, Run) else open_run(Path(run)), wanted)


def verify(artifact: Artifact | str | Path, run: Run | str | Path | None = None, *, quick: bool = False) -> Any:
    """Check that an artifact behaves like the trained model.

    Args:
        artifact: one exported folder.
        run: that it came from; default: the one it lies in.
        quick: fewer rows.

    Returns:
        :class:`edgetune.verification.record.Verification`; ``passed`` is the verdict.
    """
    from edgetune.verification.subjects import Wanted, verify_path

    folder = run.folder if isinstance(run, Run) else Path(run) if run is not None else None
    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    if is_run(path):
        raise ArtifactError(f"{path} is a run, not an artifact", hint="give one of the folders in its exports/")
    (found,) = verify_path(path, Wanted(run_folder=folder, quick=quick)).found
    return found


def benchmark(
    artifact: Artifact | str | Path, *, target: str | None = None, slo: str | Path | None = None, **options: Any
) -> Any:
    """Measure an artifact on this machine.

    Args:
        artifact: what to measure.
        target: name or file of a target; the report's ``verdicts`` say how each of its objectives came out.
        slo: file with further objectives.
        options: fields of :class:`edgetune.bench.plan.Plan`: ``prompts``, ``new_tokens``, ``threads``, ``rounds``…

    Returns:
        :class:`edgetune.bench.schema.BenchReport`.
    """
    from edgetune.bench.plan import Plan
    from edgetune.bench.single_stream import bench_subjects
    from edgetune.bench.subjects import artifact_subject
    from edgetune.realtime.measuring import hold
    from edgetune.realtime.planned import require_planned
    from edgetune.realtime.wanted import find_wanted

    opened = artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact))
    subject = artifact_subject(opened)
    wanted = find_wanted(target, Path(slo) if slo is not None else None, classifies=subject.classifies)
    plan = wanted.filled_in(Plan(**options))
    require_planned(wanted, plan)
    (report,) = bench_subjects([subject], plan)
    return hold(report, subject, wanted, plan)


def write_report(run: Run | str | Path, output: str | Path | None = None) -> Path:
    """Write what is stored about a run as one HTML page with a recommendation, beside it the charts as PNG.

    Args:
        run: the run.
        output: folder; default: ``report`` in the run.

    Returns:
        The HTML file.
    """
    from edgetune.report import writing

    folder = run.folder if isinstance(run, Run) else Path(run)
    return writing.write_report(folder, Path(output) if output is not None else None)


def _resolve(recipe: str | Path, overrides: Mapping[str, Any]) -> Resolved:
    """A recipe with parts of it changed by keyword.

    Raises:
        RecipeError: naming what the recipe has not.
    """
    changes: dict[str, tuple[Any, Origin]] = {}
    for name, value in overrides.items():
        leaves = {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
        changes |= {key: (leaf, "flag") for key, leaf in leaves.items()}
    return resolve(find_recipe(str(recipe)), changes)
