"""``edgetune eval --general``: a run, an artifact or a model → what it can do besides its task, and what it lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.adapters.unchanged import require_as_trained
from edgetune.artifact import Artifact, is_artifact, open_artifact, require_whole
from edgetune.errors import EdgetuneError
from edgetune.evaluation.compare import Comparison, with_earlier
from edgetune.evaluation.report import run_of
from edgetune.evaluation.subjects import Opening, artifact_opening, base_opening, model_opening, tuned_opening
from edgetune.general.comparing import compare
from edgetune.general.items import read_task
from edgetune.general.measuring import Material, measure
from edgetune.general.packaged import packaged_tasks
from edgetune.general.passages import read_passages
from edgetune.general.record import GeneralEvaluation, file_name, load
from edgetune.recipe import TrainSettings
from edgetune.run import Run, is_run, open_run
from edgetune.runtimes.choosing import run_artifacts
from edgetune.runtimes.pairing import on_base

#: ``--general`` without a file: the questions of the package.
PACKAGED = "packaged"
#: Passages of plain text; their figures have narrow intervals by then.
PASSAGES = 60


@dataclass(frozen=True)
class GeneralReport:
    """What was found.

    Attributes:
        evaluations: the untuned base first, where there is one.
        comparisons: each later evaluation against each of the base and the tuned model.
        remarks: what could not be compared, and why.
    """

    evaluations: tuple[GeneralEvaluation, ...]
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything, each log-likelihood included."""
        return {
            "kind": "edgetune-eval-general",
            "schema_version": 1,
            "evaluations": [evaluation.model_dump(mode="json") for evaluation in self.evaluations],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class GeneralWanted:
    """The options of ``edgetune eval --general``.

    Attributes:
        items: ``packaged``, or a file of questions.
        text: plain text of one's own.
        limit: at most so many questions of each task; None: all.
        base: also measure (or show) the untuned base of a run.
        artifacts: also measure what the run exported.
        again: compute what is stored already.
    """

    items: str = PACKAGED
    text: Path | None = None
    limit: int | None = 300
    base: bool = True
    artifacts: bool = False
    again: bool = False

    def material(self, seed: int) -> Material:
        """Read the questions and the text.

        Raises:
            DataError: the package is not installed, or a file holds something else.
        """
        tasks = packaged_tasks() if self.items == PACKAGED else (read_task(Path(self.items)),)
        return Material(tasks, read_passages(self.text), self.limit, PASSAGES, seed)

    def mark(self) -> str:
        """Tells stored evaluations on material of one's own apart; empty for edgetune's."""
        own = [Path(self.items)] if self.items != PACKAGED else []
        own += [self.text] if self.text else []
        return files.sha256_text("".join(files.sha256_file(path) for path in own))[:8] if own else ""


def report(subject: str, wanted: GeneralWanted) -> GeneralReport:
    """Measure ``subject``: a run folder, an artifact, or a model source.

    Raises:
        EdgetuneError: the run is not trained yet; else see :func:`edgetune.general.measuring.measure`.
    """
    path = Path(subject)
    if is_run(path):
        return _of_run(open_run(path), wanted)
    material = wanted.material(TrainSettings().seed)
    if path.exists() and (is_artifact(path) or path.suffix == ".gguf"):
        if (run := run_of(path)) is not None:
            return _of_artifact(run, path, wanted)
        return GeneralReport(
            (measure(artifact_opening(on_base(open_artifact(path, check_hashes=True))), material),), ()
        )
    return GeneralReport((measure(model_opening(subject), material),), ())


def _of_run(run: Run, wanted: GeneralWanted) -> GeneralReport:
    run.require_generating("general ability")
    run.require_trained()
    require_as_trained(run)  # a stored figure is not one of a changed tokenizer
    material = wanted.material(run.recipe.train.seed)
    openings = [base_opening(run, in_torch=True)] if wanted.base else []
    openings += [tuned_opening(run)]
    openings += [_whole(one) for one in run_artifacts(run)] if wanted.artifacts else []
    place = _place(run, wanted)
    return compared([measure(one, material, place(one.name), again=wanted.again) for one in openings])


def _of_artifact(run: Run, path: Path, wanted: GeneralWanted) -> GeneralReport:
    run.require_generating("general ability")
    place = _place(run, wanted)
    opening = _whole(on_base(open_artifact(path)))
    own = measure(opening, wanted.material(run.recipe.train.seed), place(opening.name), again=wanted.again)
    before, remarks = [], []
    for name in ("base", "tuned") if wanted.base else ("tuned",):
        try:
            before.append(load(place(name)))
        except EdgetuneError:
            remarks.append(f"'{name}' has nothing stored to compare with: edgetune eval {run.folder} --general")
    return compared([*before, own], remarks)


def _whole(artifact: Artifact) -> Opening:
    """An artifact whose files are those that its manifest names, so that stored figures are of them."""
    require_whole(artifact)
    return artifact_opening(artifact)


def _place(run: Run, wanted: GeneralWanted) -> Callable[[str], Path]:
    """Where the evaluation of a subject is stored."""
    mark = wanted.mark()
    return lambda name: run.evaluation_file(file_name(name, mark))


def compared(evaluations: list[GeneralEvaluation], remarks: list[str] | None = None) -> GeneralReport:
    """Compare each with the base and the tuned model before it."""
    comparisons, said = with_earlier(evaluations, compare)
    return GeneralReport(tuple(evaluations), comparisons, (*(remarks or ()), *said))
