"""What kind of task the rows of a source are for, seen from their keys and from how they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgetune.data.datasets_door import is_saved
from edgetune.data.formats import recognise
from edgetune.data.pictures import SUFFIXES
from edgetune.data.reading import SAMPLE, locate, read_records
from edgetune.data.records import Records
from edgetune.errors import WrongUsage
from edgetune.recipe import TaskKind

#: Kind of task → how its rows are laid out. Those of generation come in many layouts.
LAYOUTS: dict[TaskKind, str] = {"text-classification": "labelled", "image-classification": "images"}
#: Kind of task → what is classified, as rows call it.
THINGS: dict[TaskKind, str] = {"text-classification": "text", "image-classification": "image"}


@dataclass(frozen=True)
class Kind:
    """What a source's rows are for.

    Attributes:
        task: a recipe's ``task.kind``.
        reason: how that is known.
        columns: key of the layout → what the file calls it; none where rows are answered.
        layout: the rows' format; ``auto`` where their keys tell.
        records: what the source holds, where it had to be read to know.
    """

    task: TaskKind
    reason: str
    columns: dict[str, str]
    layout: str
    records: Records | None = field(default=None, repr=False)


def kind_of(source: str, task: TaskKind | None = None, columns: Mapping[str, str | None] | None = None) -> Kind:
    """What the rows of ``source`` are for.

    Args:
        source: see :func:`edgetune.data.pictures.load_images`.
        task: what the user says, if anything.
        columns: ``text``, ``image`` and ``label`` → what the user says that the file calls them, if anything.

    Raises:
        WrongUsage: what the user says does not go together.
        DataError: the source is missing or of an unknown kind.
    """
    named = {key: name for key, name in (columns or {}).items() if name}
    _require_one_meaning(task, named, f"--task {task}")
    records = None
    if told := (task, "as given") if task else _told(named) or _lies(source):
        found, reason = told
    else:
        records = read_records(source)
        found, reason = _seen([row for _, row in records.rows[:SAMPLE]], named)
    return Kind(found, reason, _keys(found, named), LAYOUTS.get(found, "auto"), records)


def _keys(task: TaskKind, named: Mapping[str, str]) -> dict[str, str]:
    """Key of the layout → what the file calls it."""
    return {key: named.get(key, key) for key in (THINGS[task], "label")} if task in THINGS else {}


def layout_of(source: str, format: str, columns: Mapping[str, str | None]) -> Kind:
    """As :func:`kind_of`, where the user may have said how the rows are laid out; ``auto``: nothing was said.

    Raises:
        WrongUsage: the layout has no such columns.
        DataError: as :func:`kind_of`.
    """
    if format == "auto":
        return kind_of(source, None, columns)
    named = {key: name for key, name in columns.items() if name}
    task: TaskKind = next((task for task, layout in LAYOUTS.items() if layout == format), "generation")
    _require_one_meaning(task, named, f"--format {format}")
    return Kind(task, "as given", _keys(task, named), format)


def _require_one_meaning(task: TaskKind | None, named: Mapping[str, str], said: str) -> None:
    """Refuse columns that what was said has no use for, or that cannot both be read."""
    taken = {"label", THINGS[task]} if task in THINGS else set() if task else {"label", *THINGS.values()}
    idle = sorted(set(named) - taken)
    if idle:
        raise WrongUsage(f"{said} has no --{idle[0]}-column", hint="leave one of them out")
    if {"text", "image"} <= set(named):
        raise WrongUsage("--text-column and --image-column are of two kinds of task", hint="give one of them")
    if len(set(named.values())) < len(named):
        raise WrongUsage("one column is named twice", hint="the class of a row is not what is classified")


def _told(named: Mapping[str, str]) -> tuple[TaskKind, str] | None:
    """By which columns were named: only rows with a class have such."""
    for task, thing in THINGS.items():
        if thing in named:
            return task, f"the column '{named[thing]}' was named as that of its {thing}s"
    return None


def _lies(source: str) -> tuple[TaskKind, str] | None:
    """By how a folder lies: rows of a folder that is no data set are images."""
    path, _ = locate(source)
    if source.startswith("hub:") or not path.is_dir() or is_saved(path) or not _has_images(path):
        return None
    return "image-classification", "a folder that holds folders of images: one for each class"


def _seen(sample: Sequence[Mapping[str, object]], named: Mapping[str, str]) -> tuple[TaskKind, str]:
    """By the keys of most rows."""
    for task, thing in THINGS.items():
        keys = (thing, named.get("label", "label"))
        count = sum(_has(row, keys) for row in sample)
        if 2 * count > len(sample):
            return task, f"keys {' and '.join(map(repr, keys))} in {count} of {len(sample)} rows"
    if named:
        return "text-classification", f"the column '{named['label']}' was named as that of classes"
    return "generation", "its rows are conversations, prompts with answers, or plain text"


def _has_images(folder: Path) -> bool:
    """Whether a folder in it holds an image."""
    return any(
        file.suffix.lower() in SUFFIXES for part in folder.iterdir() if part.is_dir() for file in part.rglob("*")
    )


def _has(row: Mapping[str, object], keys: tuple[str, ...]) -> bool:
    """Whether a row has a value under each key, and is nothing else. What is answered may have a label for itself."""
    known = recognise(row)
    return (known is None or known[0] == "text") and all(row.get(key) not in (None, "") for key in keys)
