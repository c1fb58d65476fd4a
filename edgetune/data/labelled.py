"""Rows with a class: what the classes are called, and what must be so before a classifier can be trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.data.conversation import Conversation
from edgetune.data.pictures import IMAGES, load_images, placed
from edgetune.data.reading import LoadedRows, load_rows
from edgetune.errors import DataError

if TYPE_CHECKING:
    from edgetune.recipe import Recipe
    from edgetune.run import Run

#: Rows named in one message before it says how many more there are.
NAMED = 5


def load_labelled(source: str | Path, recipe: Recipe, scratch: Path) -> LoadedRows:
    """Rows to classify from outside of a run, with the columns that the recipe names.

    Args:
        source: of the rows.
        recipe: of the task.
        scratch: folder for images that have no file of their own.

    Raises:
        DataError: as :func:`edgetune.data.reading.load_rows`.
    """
    settings = recipe.data
    if recipe.task.kind == "image-classification":
        columns = {"image": settings.image_column, "label": settings.label_column}
        return load_images(str(source), columns, scratch)
    return load_rows(source, "labelled", {"text": settings.text_column, "label": settings.label_column})


def own_rows(run: Run, path: Path) -> tuple[Conversation, ...]:
    """The rows in one of a run's own files.

    Raises:
        DataError: it is not there, or was changed.
    """
    if run.recipe.task.kind == "image-classification":
        return placed(load_rows(path, "images").raise_on_problems().rows, path.parent)
    return load_rows(path, "labelled").raise_on_problems().rows


def asked_of(row: Conversation) -> str | Path:
    """What is classified: a text, or where an image lies."""
    content = str(row.messages[0]["content"])
    return Path(content) if row.kind == "image" else content


def shown(asked: str | Path) -> str:
    """What is classified, for people and for files that others get: of an image only where it lies in the run."""
    return f"{IMAGES}/{asked.name}" if isinstance(asked, Path) else asked


def label_of(row: Conversation) -> str:
    """The name of its class."""
    return str(row.messages[1]["content"])


def label_names(rows: Sequence[Conversation]) -> tuple[str, ...]:
    """The classes in the order that the model numbers them: numbers by value, names by the alphabet.

    >>> from edgetune.data.conversation import Conversation
    >>> def row(label): return Conversation(({"content": "x"}, {"content": label}), kind="labelled")
    >>> label_names([row("10"), row("9")]), label_names([row("pos"), row("neg"), row("pos")])
    (('9', '10'), ('neg', 'pos'))
    """
    names = {label_of(row) for row in rows}
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def require_classes(train: Sequence[Conversation], others: Mapping[str, Sequence[Conversation]]) -> tuple[str, ...]:
    """The names of the classes, if a classifier can be trained and judged on these rows.

    Args:
        train: rows to train on.
        others: what further rows are for, in words → the rows.

    Raises:
        DataError: there is but one class, or others have classes that training lacks; each row is named.
    """
    names = label_names(train)
    if len(names) < 2:
        raise DataError(
            f"{_file(train)}: all {len(train)} training rows have the class '{names[0]}': nothing could be told apart",
            hint="add rows of another class, or check data.label_column",
        )
    unseen = [(kind, row) for kind, rows in others.items() for row in rows if label_of(row) not in names]
    if unseen:
        more = [f"and {len(unseen) - NAMED} more"] if len(unseen) > NAMED else []
        raise DataError(
            f"rows of a class that no training row has: {len(unseen)}; trained on: {', '.join(names)}",
            hint="add such rows to data.train, or take these out",
            problems=[*(f"{row.where}: {kind} row of class '{label_of(row)}'" for kind, row in unseen[:NAMED]), *more],
        )
    return names


def balanced_weights(rows: Sequence[Conversation], names: Sequence[str]) -> tuple[float, ...]:
    """Weight of each class such that all weigh the same together; the mean over all rows is 1."""
    counts = Counter(map(label_of, rows))
    return tuple(len(rows) / (len(names) * counts[name]) for name in names)


def _file(rows: Sequence[Conversation]) -> str:
    return rows[0].where.rpartition(":")[0] or rows[0].where
