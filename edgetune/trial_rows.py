"""The rows that all trials of a comparison or a sweep share: made once, and the same for every seed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.errors import RecipeError
from edgetune.evaluation.rows import choose_rows
from edgetune.models import resolve_base
from edgetune.recipe import DataSettings, Recipe, Resolved
from edgetune.run import Run, is_run, open_run
from edgetune.sources import changed_sources
from edgetune.training.preparing import prepare_run


def fixed_rows(resolved: Resolved, folder: Path, *, allow_scripts: bool) -> Run:
    """A run that is prepared and never trained, for its rows; one that is there already is used.

    Args:
        resolved: the recipe.
        folder: of that run.
        allow_scripts: as in training.

    Raises:
        DataError, ModelError, RecipeError, ResourceError: as in training.
        RecipeError: the rows there, or the base, are others than the recipe names now.
    """
    if is_run(folder) and (run := open_run(folder)).manifest.state != "created":
        _require_same(run, resolved)
        return run
    shutil.rmtree(folder, ignore_errors=True)  # a process died while preparing it
    return prepare_run(resolved, folder, allow_scripts=allow_scripts)


def _require_same(run: Run, resolved: Resolved) -> None:
    """Trials over some rows are not mixed with trials over others, nor are bases."""
    made, given = run.recipe, resolved.recipe
    changed = [key for key in ("model", "task", "data") if getattr(made, key) != getattr(given, key)]
    problems = [f"{key}: the recipe says something else now" for key in changed] or changed_sources(run, resolved)
    if not problems and resolve_base(given.model, resolved.path.parent).sha256 != run.manifest.base_sha256:
        problems = [f"model.source: {given.model.source} has other weights now"]
    if problems:
        raise RecipeError(
            f"{run.folder.parent} was begun with other rows or another base than {resolved.path} names now",
            hint="another folder: --output FOLDER",
            problems=problems,
        )


def rows_settings(run: Run, recipe: Recipe) -> dict[str, Any]:
    """What has a trial take its rows from a run, instead of making them again: dotted key → value.

    Args:
        run: from :func:`fixed_rows`.
        recipe: the trial's.
    """
    plain, validation = DataSettings(), run.rows_file("validation")
    replay = recipe.data.replay and recipe.data.replay.model_copy(update={"source": str(run.rows_file("replay"))})
    return {
        "data.prepare": None,
        "data.train": str(run.train_file.resolve()),
        "data.validation": str(validation.resolve()) if validation.is_file() else None,
        "data.heldout": str(run.heldout_file.resolve()),
        "data.replay": replay.model_dump(mode="json") if replay else None,
        "data.format": plain.format,
        "data.text_column": plain.text_column,
        "data.image_column": plain.image_column,
        "data.label_column": plain.label_column,
        "data.train_limit": None,
    }


def same_questions(run: Run, recipe: Recipe) -> dict[str, Any]:
    """What has every trial asked the same held-out rows, where a recipe limits them: a limit draws by the trial's seed.

    Args:
        run: from :func:`fixed_rows`.
        recipe: whose seed draws, once.
    """
    lines = files.read_lines(run.heldout_file)
    chosen = choose_rows(len(lines), recipe.data.heldout_limit, recipe.train.seed)
    if len(chosen) == len(lines):
        return {}
    asked = run.data_folder / "asked.jsonl"
    files.write_text(asked, "".join(f"{lines[index]}\n" for index in chosen))
    return {"data.heldout": str(asked.resolve()), "data.heldout_limit": None}
