"""Whether rows that a model is evaluated on are among those that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgetune.data.conversation import Conversation
from edgetune.data.kinds import LAYOUTS
from edgetune.data.labelled import load_labelled
from edgetune.data.pictures import Album
from edgetune.data.reading import load_rows
from edgetune.data.splitting import find_leaks
from edgetune.recipe import Recipe
from edgetune.run import Run

#: Kind of likeness → what is said of rows that have it.
_SAID = {
    "row": "were trained on, so figures on them say how well they were remembered",
    "prompt": "were trained on with another answer or class",
    "near prompt": "are like some that were trained on, but for case or spacing",
}


def seen_in_training(run: Run, data: Path) -> str | None:
    """A sentence for people where rows of another source were trained on; None: none was.

    Args:
        run: whose training rows are looked at, as it keeps them; of images, their content is compared.
        data: rows that the run did not hold out.

    Raises:
        DataError: the rows cannot be read.
    """
    recipe = run.recipe
    known = load_rows(run.train_file, LAYOUTS.get(recipe.task.kind, "auto")).rows
    rows = _rows(recipe, data)
    leaks = find_leaks(known, rows, recipe.task.system)
    said = []
    for kind, words in _SAID.items():
        if found := [leak for leak in leaks if leak.kind == kind]:
            said.append(f"{len(found)} {words} (such as {found[0].heldout})")
    return f"of the {len(rows)} rows of {data}, {'; '.join(said)}" if said else None


def _rows(recipe: Recipe, data: Path) -> Sequence[Conversation]:
    if recipe.task.kind == "generation":
        return load_rows(data).rows
    with TemporaryDirectory(prefix="edgetune-") as scratch:
        rows = load_labelled(data, recipe, Path(scratch)).rows
        return Album().named(rows) if recipe.task.kind == "image-classification" else rows
