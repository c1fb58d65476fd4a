"""``edgetune eval``: a run, an artifact or a model → evaluations and what moved between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.artifact import is_artifact, open_artifact
from edgetune.errors import DataError, EdgetuneError
from edgetune.evaluation.compare import Comparison, compare, with_earlier
from edgetune.evaluation.record import Evaluation, load
from edgetune.evaluation.seen import seen_in_training
from edgetune.evaluation.subjects import Opening, Settings, artifact_opening, evaluate_run, measure, model_opening
from edgetune.run import Run, is_run, open_run
from edgetune.runtimes.choosing import run_artifacts
from edgetune.runtimes.pairing import on_base


@dataclass(frozen=True)
class Report:
    """What ``edgetune eval`` found.

    Attributes:
        evaluations: the untuned base first, where there is one.
        comparisons: each later evaluation against each of the base and the tuned model.
        remarks: what could not be compared, and why.
    """

    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything, answers included."""
        return {
            "kind": "edgetune-eval",
            "schema_version": 1,
            "evaluations": [evaluation.model_dump(mode="json") for evaluation in self.evaluations],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class Wanted:
    """The options of ``edgetune eval``.

    Attributes:
        data: other rows than the run's own.
        limit: at most this many rows.
        base: also evaluate (or show) the untuned base of a run.
        artifacts: also evaluate what the run exported.
        again: compute what is stored already.
    """

    data: Path | None = None
    limit: int | None = None
    base: bool = True
    artifacts: bool = False
    again: bool = False


def report(subject: str, wanted: Wanted) -> Report:
    """Evaluate ``subject``: a run folder, an artifact, or a model source.

    Raises:
        DataError: a model, or an artifact outside a run, was given without data.
        EdgetuneError: see :func:`edgetune.evaluation.subjects.evaluate_run`.
    """
    path = Path(subject)
    if is_run(path):
        return _of_run(open_run(path), wanted)
    if path.exists() and (is_artifact(path) or path.suffix == ".gguf"):
        run = run_of(path)
        if run is not None:
            return _of_artifact(run, path, wanted)
        return _alone(artifact_opening(on_base(open_artifact(path, check_hashes=True))), wanted)
    return _alone(model_opening(subject), wanted)


def run_of(artifact: Path) -> Run | None:
    """The run whose ``exports/`` holds ``artifact`` (a folder or a file in it)."""
    folder = artifact.resolve() if artifact.is_dir() else artifact.resolve().parent
    run = folder.parent.parent
    return open_run(run) if folder.parent.name == "exports" and is_run(run) else None


def _of_run(run: Run, wanted: Wanted) -> Report:
    subjects: list[Any] = [*(["base"] if wanted.base else []), "tuned"]
    subjects += run_artifacts(run) if wanted.artifacts else []
    run.require_trained()
    found = [
        evaluate_run(run, subject, limit=wanted.limit, data=wanted.data, again=wanted.again) for subject in subjects
    ]
    return compared(found, _flattered(run, wanted))


def _of_artifact(run: Run, path: Path, wanted: Wanted) -> Report:
    own = evaluate_run(run, path, limit=wanted.limit, data=wanted.data, again=wanted.again)
    names = ["base", "tuned"] if wanted.base else ["tuned"]
    before, remarks = [], _flattered(run, wanted)
    for name in names if wanted.data is None else []:
        try:
            before.append(load(run.evaluation_file(name)))
        except EdgetuneError:
            remarks.append(f"'{name}' has no stored evaluation to compare with: edgetune eval {run.folder}")
    return compared([*before, own], remarks)


def _flattered(run: Run, wanted: Wanted) -> list[str]:
    """What makes figures on other rows than the held-out ones too good."""
    if wanted.data is None:
        return []
    try:
        said = seen_in_training(run, wanted.data)
    except DataError as error:  # a run may come without its training rows
        return [f"whether rows of {wanted.data} were trained on is not known: {error.message}"]
    return [said] if said else []


def _alone(opening: Opening, wanted: Wanted) -> Report:
    if wanted.data is None:
        raise DataError(
            f"'{opening.name}' does not belong to a run, so there are no held-out rows to evaluate it on",
            hint="give rows: --data FILE",
        )
    return Report((measure(opening, wanted.data, Settings(limit=wanted.limit)),), ())


def compared(evaluations: list[Evaluation], remarks: list[str] | None = None) -> Report:
    """Compare each evaluation with the base and the tuned model before it."""
    comparisons, said = with_earlier(evaluations, compare)
    return Report(tuple(evaluations), comparisons, (*(remarks or ()), *said))
