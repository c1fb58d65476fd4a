"""What all trials of a sweep share, made once: rows, base, suggestion, and the recipe that settings are laid over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.data.conversation import Conversation, write_rows
from edgetune.data.kinds import LAYOUTS
from edgetune.data.labelled import label_of
from edgetune.data.reading import load_rows
from edgetune.data.splitting import split
from edgetune.errors import DataError
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
#: Of a recipe, where things lie: what they hold is compared by its hash.
_PLACES: dict[str, Any] = {
    "data": {"prepare": True, "train": True, "validation": True, "heldout": True, "replay": {"source"}},
    "model": {"source", "revision", "chat_template"},
}
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
        train = rest if (rest := run.rows_file("rest")).is_file() else run.train_file
        changed = with_settings(resolved, _settings(run, resolved.recipe, limits, train))
        suggestion = _suggestion(changed, folder / SUGGESTION)
    data = {"train": files.sha256_file(train), "validation": files.sha256_file(run.rows_file("validation"))}
    if (replayed := run.rows_file("replay")).is_file():
        data["replay"] = files.sha256_file(replayed)
    settings = changed.recipe.model_dump(mode="json", exclude=_PLACES)
    return Shared(changed, suggestion, run.manifest.base_sha256, data, validation, files.sha256_json(settings))


def _choose_validation(run: Run, recipe: Recipe) -> str:
    """Have rows that choose, apart from the held-out ones; returns in words which."""
    note = run.folder / "validation.txt"
    if run.rows_file("validation").is_file():
        return note.read_text(encoding="utf-8") if note.is_file() else "the recipe's own validation rows"
    rows = _rows(run.train_file, recipe)
    chosen = _set_apart(rows, recipe)
    apart = {id(row) for row in chosen}
    rest = [row for row in rows if id(row) not in apart]
    said = f"{len(chosen)} of the training rows, which no trial trains on: the recipe names none for validation"
    files.write_text(note, said)
    write_rows(run.rows_file("rest"), rest)
    write_rows(run.rows_file("validation"), chosen)  # last: where it lies, the others do
    return said


def _set_apart(rows: Sequence[Conversation], recipe: Recipe) -> list[Conversation]:
    """Some training rows that choose. Of each class, one at least is left to train on.

    Raises:
        DataError: there are too few rows.
    """
    if recipe.task.kind == "generation":
        return list(split(rows, VALIDATION_SHARE, recipe.train.seed, recipe.task.system).heldout)
    count = Counter(map(label_of, rows))
    parted = split([row for row in rows if count[label_of(row)] > 1], VALIDATION_SHARE, recipe.train.seed)
    known = {label_of(row) for row in parted.train}
    chosen = [row for row in parted.heldout if label_of(row) in known]
    if not chosen:
        raise DataError("each class has too few rows to set some apart", hint="name some: data.validation: FILE")
    return chosen


def _rows(path: Path, recipe: Recipe) -> list[Conversation]:
    return list(load_rows(path, LAYOUTS.get(recipe.task.kind, "auto")).raise_on_problems().rows)


def _settings(run: Run, recipe: Recipe, limits: Mapping[str, float], train: Path) -> dict[str, Any]:
    """What differs between the recipe and every trial: rows that are fixed, no exports, the trials' limits."""
    settings = rows_settings(run, recipe) | {"data.train": str(train.resolve())}
    settings |= {"exports": [], "train.keep_checkpoints": 1, "train.tensorboard": False}
    settings |= {f"train.{name}": value for name, value in limits.items()}
    if "max_steps" in limits:
        often = max(1, int(limits["max_steps"]) // EVALUATIONS)
        settings["train.evaluate_every"] = min(often, recipe.train.evaluate_every or often)
    elif "max_minutes" in limits:  # the recipe's is for its own length: a trial may end before
        settings["train.evaluate_every"] = None
    return settings


def _suggestion(resolved: Resolved, file: Path) -> Suggestion:
    if (stored := read_if_sound(file, Suggestion)) is not None:
        return stored
    suggestion = make_suggestion(resolved, ROWS)
    write_stored(file, suggestion)
    return suggestion
