"""What a training made a model forget: general ability before and after, asked the same for all methods."""

from __future__ import annotations

from pathlib import Path

from edgetune.errors import EdgetuneError
from edgetune.evaluation.subjects import base_opening, tuned_opening
from edgetune.general.measuring import measure
from edgetune.general.record import GeneralEvaluation, file_name, load
from edgetune.general.report import GeneralWanted
from edgetune.recipe import Recipe
from edgetune.run import Run

#: Of encoders there is nothing to say.
NO_SUCH_THING = (
    "a classifier has a new head and answers with a class alone: it neither chooses answers nor goes on with a text, "
    "before training or after it, so there is no general ability that could be asked for"
)
NOT_ASKED_FOR = "not asked for: --general-limit 0"


def no_general(recipe: Recipe, limit: int) -> str | None:
    """Why forgetting is not measured; None: it can be.

    Raises:
        DataError: it can, but the questions are not installed; said before hours of training.
    """
    if recipe.task.kind != "generation":
        return NO_SUCH_THING
    if not limit:
        return NOT_ASKED_FOR
    GeneralWanted(limit=limit).material(0)
    return None


def measure_general(run: Run, base: Path, *, limit: int, seed: int) -> None:
    """Measure base and trained model, unless that is stored; both in torch, so that only training differs.

    Args:
        run: trained.
        base: file that keeps the base's evaluation, which is the same for all runs.
        limit: questions of each task.
        seed: of their choice.
    """
    material = GeneralWanted(limit=limit).material(seed)
    measure(base_opening(run, in_torch=True), material, base)
    measure(tuned_opening(run), material, _file(run))


def stored_general(run: Run, base: Path) -> tuple[GeneralEvaluation, GeneralEvaluation] | None:
    """What :func:`measure_general` stored of base and trained model; None: it did not come so far."""
    try:
        return load(base), load(_file(run))
    except EdgetuneError:
        return None


def _file(run: Run) -> Path:
    return run.evaluation_file(file_name("tuned"))
