"""The exported model of a method: what it still does, and its adapter beside it, not merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgetune.artifact import read_artifact
from edgetune.evaluation.compare import Difference, compare
from edgetune.evaluation.record import load
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import Wanted, export, find_source
from edgetune.exporting_parts import Part, plan_parts, write_parts
from edgetune.methods.collecting import tuned_evaluation
from edgetune.methods.record import Apart
from edgetune.run import Run


def has_adapter(run: Run) -> bool:
    """Whether a run left an adapter that could be kept apart: the head of a classifier has no place on a base."""
    return run.adapter_folder.is_dir() and run.recipe.task.kind == "generation"


def export_whole(run: Run, kind: str, precision: str) -> None:
    """Export the model, and ask the artifact for the held-out rows; what is stored of the same is not made again.

    Raises:
        EdgetuneError: as in exporting and evaluating.
    """
    evaluate_run(run, export(run, kind, precision))


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
EXPORTS: Mapping[str, Callable[[Run, str, str], None]] = {"whole": export_whole, "apart": export_apart}


def shift_of(run: Run, name: str, figure: str) -> Difference | None:
    """How the task's figure moved from the trained model to its artifact.

    Args:
        run: whose artifact was evaluated.
        name: of the artifact.
        figure: name of the task's figure.
    """
    found = compare(tuned_evaluation(run), load(run.evaluation_file(name)))
    return next((one for one in found.differences if one.name == figure), None)


def apart_of(run: Run, kind: str, precision: str) -> Apart:
    """The sizes of what :func:`export_apart` wrote."""
    sizes = {part.kind: read_artifact(part.folder).size_bytes for part in _apart(run, kind, precision)}
    return Apart(base_bytes=sizes["base"], adapter_bytes=sizes["adapter"])


def _apart(run: Run, kind: str, precision: str) -> list[Part]:
    return find_source(str(run.folder)).parts(Wanted(kind, separate=True, with_base=precision))
