"""What a benchmark asks: the run's own held-out questions, or a built-in handful."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact
from edgetune.data.conversation import Conversation
from edgetune.data.reading import load_rows
from edgetune.files import sha256_text
from edgetune.run import run_around


@dataclass(frozen=True)
class Prompts:
    """Conversations that end where the model has to answer, and where they come from."""

    conversations: tuple[list[dict[str, Any]], ...]
    source: str

    @property
    def sha256(self) -> str:
        """Of the conversations: two runs with the same asked the same."""
        return sha256_text(json.dumps(self.conversations, sort_keys=True))


def prompts_for(artifact: Artifact | Path, count: int) -> Prompts:
    """Prompts to time an artifact with.

    Args:
        artifact: when it lies in a run folder, that run's held-out rows are used. Also a path.
        count: how many; fewer come back only where a run has fewer.
    """
    run = run_around(artifact.path if isinstance(artifact, Artifact) else artifact)
    if run is not None and run.heldout_file.is_file():
        rows = load_rows(run.heldout_file).raise_on_problems().rows
        questions = [question for row in rows if (question := _question(row))]
        if questions:
            return Prompts(tuple(_spaced(questions, count)), f"held-out rows of {run.folder.name}")
    built_in = json.loads(files(__package__).joinpath("prompts.json").read_text(encoding="utf-8"))
    texts = [built_in[index % len(built_in)] for index in range(count)]
    return Prompts(
        tuple([{"role": "user", "content": text}] for text in texts), f"{len(built_in)} built-in general prompts"
    )


def _question(row: Conversation) -> list[dict[str, Any]]:
    """The messages before a row's last answer, without training weights; none where there is no answer."""
    asked = row.prompt if row.last_answer < len(row.messages) else ()
    return [{key: value for key, value in message.items() if key != "weight"} for message in asked]


def _spaced(rows: Sequence[list[dict[str, Any]]], count: int) -> list[list[dict[str, Any]]]:
    """``count`` rows spread evenly over all, so that a sorted file is covered."""
    if len(rows) <= count:
        return list(rows)
    return [rows[index * len(rows) // count] for index in range(count)]
