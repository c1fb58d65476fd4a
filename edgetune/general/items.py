"""Questions with choices, of which one is right, and the files that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.data.json_files import read_jsonl
from edgetune.data.records import Records
from edgetune.errors import DataError, ResourceError

#: What an item of one's own looks like.
LAYOUT = '{"context": "Question: …\\nAnswer:", "choices": ["…", "…"], "answer": 0}'


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        row: index in its file, from 0.
        context: what the model reads.
        choices: what may follow, after one space.
        answer: index of the right one.
    """

    row: int
    context: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Task:
    """Items of one kind.

    Attributes:
        name: ``piqa``, …
        items: all of the file.
        sha256: of the file.
        metric: ``acc`` or ``acc_norm``: by which it is usually judged.
    """

    name: str
    items: tuple[Item, ...]
    sha256: str
    metric: str = "acc_norm"


def read_task(path: Path) -> Task:
    """Items of one's own: JSON Lines, each as in :data:`LAYOUT`; ``answer`` may also be the text of a choice.

    Raises:
        DataError: no such file, or rows that are no items; all are named.
        ResourceError: no permission to read it.
    """
    if not path.is_file():
        raise DataError(f"no such file of items: {path}", hint=f"give JSON Lines, each: {LAYOUT}")
    rows = read_rows(path)
    items: list[Item] = []
    problems: list[str] = []
    for where, row in rows:
        try:
            items.append(_item(len(items), row))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if problems or not items:
        raise DataError(
            f"{path}: {len(problems)} of {len(rows)} rows are no items" if rows else f"{path} holds no items",
            hint=f"each is: {LAYOUT}",
            problems=problems,
        )
    return Task(path.stem, tuple(items), files.sha256_file(path))


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(where, row) of a file of JSON Lines.

    Raises:
        DataError: lines that cannot be read.
        ResourceError: no permission to read it.
    """
    records = Records()
    try:
        read_jsonl(path, records)
    except PermissionError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror}", hint=f"chmod +r {path}") from error
    if errors := [str(problem) for problem in records.problems if problem.severity == "error"]:
        raise DataError(f"{path}: {len(errors)} lines cannot be read", hint="mend them", problems=errors)
    return records.rows


def _item(number: int, row: Mapping[str, Any]) -> Item:
    """One row as an item.

    Raises:
        ValueError: it is none.
    """
    if unknown := set(row) - {"context", "choices", "answer"}:
        raise ValueError(f"has the unknown key '{min(unknown)}'")
    context, choices, answer = (row.get(key) for key in ("context", "choices", "answer"))
    if not isinstance(context, str) or not context.strip():
        raise ValueError("'context' is not a text")
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError("'choices' is not a list of two or more")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError("'choices' are not all texts")
    if isinstance(answer, str):
        if choices.count(answer) != 1:
            raise ValueError(f"'answer' is {choices.count(answer)} of the choices")
        answer = choices.index(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise ValueError(f"'answer' is neither a choice nor an index from 0 to {len(choices) - 1}")
    return Item(number, context, tuple(choices), answer)
