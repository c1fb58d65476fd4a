"""The exported model of a method: what it still does, and its adapter beside it, not merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgetune.artifact import MANIFEST, Artifact, read_artifact
from edgetune.errors import ArtifactError
from edgetune.evaluation.compare import Difference, compare
from edgetune.evaluation.record import load
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import Wanted, export, find_source
from edgetune.exporting_parts import plan_parts, write_parts
from edgetune.methods.collecting import tuned_evaluation
from edgetune.methods.record import Apart
from edgetune.report.quality import task_figure
from edgetune.run import Run


def has_adapter(run: Run) -> bool:
    """Whether a run left an adapter that could be kept apart: the head of a classifier has no place on a base."""
    return run.adapter_folder.is_dir() and run.recipe.task.kind == "generation"


def export_whole(run: Run, kind: str, precision: str) -> None:
    """Export the model, unless that is done.

    Raises:
        EdgetuneError: as in exporting.
    """
    export(run, kind, precision)


def ask(run: Run, kind: str, precision: str) -> None:
    """Ask the exported model for the held-out rows, unless that is stored.

    Raises:
        EdgetuneError: as in evaluating.
    """
    evaluate_run(run, artifact_of(run, kind, precision))


def export_apart(run: Run, kind: str, precision: str) -> None:
    """Export the adapter alone, and the base it is put on.

    Raises:
        ExportError: the format cannot, or not with this precision or adapter.
        EdgetuneError: as in exporting.
    """
    parts = find_source(str(run.folder)).parts(Wanted(kind, separate=True, with_base=precision))
    plan_parts(parts)
    write_parts(parts)


#: What a job may ask for.
EXPORTS: Mapping[str, Callable[[Run, str, str], None]] = {"whole": export_whole, "asked": ask, "apart": export_apart}


def artifact_of(run: Run, kind: str, precision: str) -> Artifact:
    """The whole model that was exported of a run.

    Raises:
        ArtifactError: nothing was, or it is damaged.
    """
    return _find(run, kind, precision, lambda one: not (one.is_adapter or one.is_base))


def shift_of(run: Run, artifact: Artifact) -> Difference | None:
    """How the task's figure moved from the trained model to its artifact; None: rows were not scored.

    Raises:
        EdgetuneError: one of them was not evaluated, or on other rows.
    """
    trained = tuned_evaluation(run)
    figure = task_figure([trained])
    found = compare(trained, load(run.evaluation_file(artifact.name)))
    return next((one for one in found.differences if one.name == figure), None)


def apart_of(run: Run, kind: str, precision: str) -> Apart:
    """The sizes of what :func:`export_apart` wrote, and how much of the change is not in it.

    Raises:
        ArtifactError: nothing was, or it is damaged.
    """
    base = _find(run, kind, precision, lambda one: one.is_base)
    adapter = _find(run, kind, None, lambda one: one.is_adapter)
    missing = max(adapter.manifest.missing.values(), default=0.0) if adapter.manifest else 0.0
    return Apart(base_bytes=base.size_bytes, adapter_bytes=adapter.size_bytes, missing=missing)


def _find(run: Run, kind: str, precision: str | None, wanted: Callable[[Artifact], bool]) -> Artifact:
    """By what the manifests say: a folder is not always called as its precision (what is weighed by its inputs)."""
    for file in sorted(run.exports_folder.glob(f"*/{MANIFEST}")):
        artifact = read_artifact(file.parent)
        made = artifact.manifest
        if made and made.format == kind and precision in (None, made.precision) and wanted(artifact):
            return artifact
    raise ArtifactError(f"{run.folder} has no such artifact: {precision or kind}", hint=f"edgetune export {run.folder}")
