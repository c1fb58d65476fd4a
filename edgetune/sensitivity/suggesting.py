"""From a recipe to a suggestion, stored."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from edgetune import __version__
from edgetune.changed_recipe import require_free, write_changed
from edgetune.recipe import Resolved
from edgetune.sensitivity import ROWS
from edgetune.sensitivity.choosing import choose
from edgetune.sensitivity.measuring import measure
from edgetune.sensitivity.record import Suggestion
from edgetune.sources import default_folder
from edgetune.stored import write_stored

#: Where suggestions are stored.
ROOT = Path("suggestions")


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        rows: training rows to take gradients over.
        output: a recipe to write with the proposed settings.
        force: replace it.
        allow_scripts: as in training.
    """

    rows: int = ROWS
    output: Path | None = None
    force: bool = False
    allow_scripts: bool = False


@dataclass(frozen=True)
class Suggested:
    """A suggestion, the file that holds it, and the recipe that was written, if something is proposed."""

    suggestion: Suggestion
    file: Path
    recipe: Path | None


def suggest(resolved: Resolved, wanted: Wanted) -> Suggested:
    """Measure which layers a recipe's rows pull at, and propose modules and rank of an adapter.

    Raises:
        RecipeError: the output exists, or the method trains no adapter.
        DataError, ModelError, ResourceError: as in training.
    """
    require_free(wanted.output, force=wanted.force)
    suggestion = make_suggestion(resolved, wanted.rows, allow_scripts=wanted.allow_scripts)
    folder = default_folder(resolved, ROOT)
    file = folder.with_name(f"{folder.name}.json")
    write_stored(file, suggestion)
    recipe = wanted.output if suggestion.changes else None
    if recipe is not None:
        written_by = f"edgetune suggest {resolved.path.name}"
        write_changed(resolved, suggestion.changes, recipe, written_by=written_by)
    return Suggested(suggestion, file, recipe)


def make_suggestion(resolved: Resolved, rows: int, *, allow_scripts: bool = False) -> Suggestion:
    """Measure and choose. Arguments and errors as in :func:`edgetune.sensitivity.measuring.measure`."""
    sensitivity = measure(resolved, rows, allow_scripts=allow_scripts)
    return Suggestion(
        sensitivity=sensitivity,
        changes=choose(sensitivity.layers, resolved.recipe.method),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        edgetune=__version__,
    )
