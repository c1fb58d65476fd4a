"""What kind of task the rows of a source are for, seen from their keys and from how they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgetune.data.datasets_door import is_saved
from edgetune.data.formats import FORMATS, recognise
from edgetune.data.reading import SAMPLE, locate, read_records
from edgetune.recipe import TaskKind

#: Kind of task → how its rows are laid out. Those of generation come in many layouts.
LAYOUTS: dict[TaskKind, str] = {"text-classification": "labelled", "image-classification": "images"}


@dataclass(frozen=True)
class Kind:
    """What a source's rows are for.

    Attributes:
        task: a recipe's ``task.kind``.
        reason: how that is known.
        columns: key of the layout → what the file calls it; none where rows are answered.
    """

    task: TaskKind
    reason: str
    columns: dict[str, str]

    @property
    def layout(self) -> str:
        """The rows' format; ``auto`` where their keys tell."""
        return LAYOUTS.get(self.task, "auto")


def kind_of(source: str, task: TaskKind | None = None, columns: Mapping[str, str | None] | None = None) -> Kind:
    """What the rows of ``source`` are for.

    Args:
        source: see :func:`edgetune.data.pictures.load_images`.
        task: what the user says, if anything.
        columns: ``text``, ``image`` and ``label`` → what the user says that the file calls them, if anything.

    Raises:
        DataError: the source is missing or of an unknown kind.
    """
    named = {key: name for key, name in (columns or {}).items() if name}
    found, reason = (task, "as given") if task else _told(named) or _seen(source)
    keys = FORMATS["images" if found == "image-classification" else "labelled"].signatures[0]
    return Kind(found, reason, {key: named.get(key, key) for key in keys} if found in LAYOUTS else {})


def _told(named: Mapping[str, str]) -> tuple[TaskKind, str] | None:
    """By which columns were named: only rows with a class have such."""
    if "image" in named:
        return "image-classification", f"the column '{named['image']}' was named as that of images"
    if named:
        return "text-classification", f"the columns {' and '.join(map(repr, named.values()))} were named"
    return None


def _seen(source: str) -> tuple[TaskKind, str]:
    path, _ = locate(source)
    if not source.startswith("hub:") and path.is_dir() and not is_saved(path):
        return "image-classification", "a folder that holds folders: one for each class"
    sample = [row for _, row in read_records(source).rows[:SAMPLE]]
    for task, layout in LAYOUTS.items():
        (keys,) = FORMATS[layout].signatures  # type: ignore[index]
        # What is answered may have a label too: then it is about something else.
        if sample and all(_has(row, keys) and (recognise(row) or ("text",))[0] == "text" for row in sample):
            return task, f"keys {' and '.join(map(repr, keys))} in {len(sample)} of {len(sample)} rows"
    return "generation", "its rows are conversations, prompts with answers, or plain text"


def _has(row: Mapping[str, object], keys: tuple[str, ...]) -> bool:
    return all(row.get(key) not in (None, "") for key in keys)
