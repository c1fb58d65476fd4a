"""What all trials of a sweep share, made once: rows, base, suggestion, and the recipe that settings are laid over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.data.conversation import Conversation, write_rows
from edgetune.data.reading import load_rows
from edgetune.data.splitting import split
from edgetune.recipe import Recipe, Resolved
from edgetune.run import Run
from edgetune.sensitivity import ROWS
from edgetune.sensitivity.record import Suggestion
from edgetune.sensitivity.suggesting import make_suggestion
from edgetune.stored import read_if_sound, write_stored
from edgetune.trial_rows import fixed_rows, rows_settings
from edgetune.trials import with_settings

#: Of the training rows, where the recipe names no rows for validation.
VALIDATION_SHARE = 0.1
#: Evaluations of a trial, at each of which it may be pruned.
EVALUATIONS = 8
PREPARED, SUGGESTION = "prepared", "suggestion.json"


@dataclass(frozen=True)
class Shared:
    """What trials have in common.

    Attributes:
        resolved: the recipe of a trial before its settings.
        suggestion: from gradients of the same training rows.
        base_sha256: of the base.
        data_sha256: of the rows to train on and of those that choose.
        validation: which rows choose, in words.
        recipe_sha256: of the recipe and the limits, without paths.
    """

    resolved: Resolved
    suggestion: Suggestion
    base_sha256: str
    data_sha256: Mapping[str, str]
    validation: str
    recipe_sha256: str


def prepare(resolved: Resolved, folder: Path, limits: Mapping[str, float], *, allow_scripts: bool) -> Shared:
    """Fix the rows of a sweep, and take gradients over some of them; what is there already is used.

    Args:
        resolved: the recipe.
        folder: of the sweep.
        limits: of each trial: ``max_steps``, ``max_minutes``.
        allow_scripts: as in training.

    Raises:
        DataError, ModelError, RecipeError, ResourceError: as in training.
    """
    with files.locked(folder / ".lock", lambda holder: console.note(f"waiting for {holder}, which prepares the sweep")):
        run = fixed_rows(resolved, folder / PREPARED, allow_scripts=allow_scripts)
        validation = _choose_validation(run, resolved.recipe)
        changed = with_settings(resolved, _settings(run, resolved.recipe, limits))
        suggestion = _suggestion(changed, folder / SUGGESTION)
    data = {name: files.sha256_file(run.rows_file(name)) for name in ("train", "validation")}
    settings = changed.recipe.model_dump(mode="json", exclude={"data", "model"})
    return Shared(changed, suggestion, run.manifest.base_sha256, data, validation, files.sha256_json(settings))


def _choose_validation(run: Run, recipe: Recipe) -> str:
    """Have rows that choose, apart from the held-out ones; returns in words which."""
    note = run.folder / "validation.txt"
    if run.rows_file("validation").is_file():
        return note.read_text(encoding="utf-8") if note.is_file() else "the recipe's own validation rows"
    parted = split(_rows(run.train_file, recipe), VALIDATION_SHARE, recipe.train.seed, recipe.task.system)
    said = f"{len(parted.heldout)} of the training rows, which no trial trains on: the recipe names none for validation"
    files.write_text(note, said)
    write_rows(run.rows_file("validation"), parted.heldout)
    write_rows(run.rows_file("rest"), parted.train)
    run.rows_file("rest").replace(run.train_file)
    return said


def _rows(path: Path, recipe: Recipe) -> list[Conversation]:
    formats = {"generation": "auto", "text-classification": "labelled", "image-classification": "images"}
    return list(load_rows(path, formats[recipe.task.kind]).raise_on_problems().rows)


def _settings(run: Run, recipe: Recipe, limits: Mapping[str, float]) -> dict[str, Any]:
    """What differs between the recipe and every trial: rows that are fixed, no exports, the trials' limits."""
    settings = rows_settings(run, recipe)
    settings |= {"exports": [], "train.keep_checkpoints": 1, "train.tensorboard": False}
    settings |= {f"train.{name}": value for name, value in limits.items()}
    if "max_steps" in limits and recipe.train.evaluate_every is None:
        settings["train.evaluate_every"] = max(1, int(limits["max_steps"]) // EVALUATIONS)
    return settings


def _suggestion(resolved: Resolved, file: Path) -> Suggestion:
    if (stored := read_if_sound(file, Suggestion)) is not None:
        return stored
    suggestion = make_suggestion(resolved, ROWS)
    write_stored(file, suggestion)
    return suggestion
