"""The exported model of a method: what it still does, and its adapter beside it, not merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgetune.artifact import MANIFEST, Artifact, read_artifact
from edgetune.errors import ArtifactError
from edgetune.evaluation.compare import Difference, compare
from edgetune.evaluation.record import load
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import Wanted, export, find_source
from edgetune.exporting_parts import Part, plan_parts, write_parts
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
    parts = _apart(run, kind, precision)
    plan_parts(parts)
    write_parts(parts)


#: What a job may ask for.
EXPORTS: Mapping[str, Callable[[Run, str, str], None]] = {"whole": export_whole, "asked": ask, "apart": export_apart}


def artifact_of(run: Run, kind: str, precision: str) -> Artifact:
    """The whole model that was exported of a run.

    Its folder is not always called as the precision: what is weighed by its inputs says that too.

    Raises:
        ArtifactError: nothing was, or it is damaged.
    """
    folders = sorted(run.exports_folder.glob(f"{precision}*/{MANIFEST}"))
    for artifact in (read_artifact(file.parent) for file in folders):
        made = artifact.manifest
        if made and (made.format, made.precision) == (kind, precision) and not artifact.is_base:
            return artifact
    raise ArtifactError(f"{run.folder} has no artifact {precision}", hint=f"edgetune export {run.folder}")


def shift_of(run: Run, artifact: Artifact) -> Difference | None:
    """How the task's figure moved from the trained model to its artifact; None: rows were not scored.

    Raises:
        EdgetuneError: one of them was not evaluated, or on other rows.
    """
    trained = tuned_evaluation(run)
    found = compare(trained, load(run.evaluation_file(artifact.name)))
    return next((one for one in found.differences if one.name == task_figure([trained])), None)


def apart_of(run: Run, kind: str, precision: str) -> Apart:
    """The sizes of what :func:`export_apart` wrote, and how much of the change is not in it."""
    made = {part.kind: read_artifact(part.folder) for part in _apart(run, kind, precision)}
    manifest = made["adapter"].manifest
    missing = max(manifest.missing.values(), default=0.0) if manifest else 0.0
    return Apart(base_bytes=made["base"].size_bytes, adapter_bytes=made["adapter"].size_bytes, missing=missing)


def _apart(run: Run, kind: str, precision: str) -> list[Part]:
    return find_source(str(run.folder)).parts(Wanted(kind, separate=True, with_base=precision))
