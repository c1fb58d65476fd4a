"""The one shape that every row takes, and the findings about rows that do not fit it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgetune import files

#: chat: messages for the chat template; completion: prompt and completion, which also work without a
#: template; text: plain text, learnt whole; labelled, image: a text, or where an image lies, and the name of its class.
Kind = Literal["chat", "completion", "text", "labelled", "image"]
#: Keys of the kinds with two messages.
_PAIRS = {"completion": ("prompt", "completion"), "labelled": ("text", "label"), "image": ("image", "label")}
Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """One row.

    Attributes:
        messages: OpenAI-style messages, content always a string; empty for plain text.
        where: ``rows.jsonl:12``, for messages to people.
        tools: JSON schemas of the functions that the assistant may call.
        text: the text of a plain-text row.
        kind: what the row was written as.
        group: what it shares with rows like it (a template, a customer): one draw for intervals, one side of a split.
    """

    messages: tuple[Message, ...]
    where: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    text: str | None = None
    kind: Kind = "chat"
    group: str | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the last assistant message."""
        return self.messages[: self.last_answer]

    @property
    def answer(self) -> Message:
        """The last assistant message.

        Raises:
            IndexError: plain text, which has no answer.
        """
        return self.messages[self.last_answer]

    @property
    def last_answer(self) -> int:
        """Index of the last assistant message, or the number of messages when there is none."""
        found = (i for i in reversed(range(len(self.messages))) if self.messages[i]["role"] == "assistant")
        return next(found, len(self.messages))

    def as_chat(self) -> Conversation:
        """The same row written as messages; plain text stays as it is."""
        return replace(self, kind="chat") if self.kind in _PAIRS else self

    def to_row(self) -> dict[str, Any]:
        """The row as JSON, such that reading it again, among rows of its kind, gives the same conversation."""
        return self.taught() if self.group is None else self.taught() | {"group": self.group}

    def taught(self) -> dict[str, Any]:
        """What a model can learn of the row: all but its group."""
        if self.text is not None:
            return {"text": self.text}
        if keys := _PAIRS.get(self.kind):
            return dict(zip(keys, (message["content"] for message in self.messages), strict=True))
        row: dict[str, Any] = {"messages": list(self.messages)}
        return row | {"tools": list(self.tools)} if self.tools else row


@dataclass(frozen=True)
class Problem:
    """One finding about a data file.

    Attributes:
        where: file, or file and line.
        message: what is wrong.
        severity: an error makes the row unusable; a warning is worth a look.
    """

    where: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def shared_system(rows: Iterable[Conversation]) -> str | None:
    """The system prompt with which every row begins; None where one has another, or none."""
    first = {row.messages[0]["content"] if _has_system(row) else None for row in rows}
    return first.pop() if len(first) == 1 else None


def _has_system(row: Conversation) -> bool:
    return bool(row.messages) and row.messages[0]["role"] == "system" and isinstance(row.messages[0]["content"], str)


def write_rows(path: Path, conversations: Iterable[Conversation]) -> None:
    """Store conversations as JSON Lines, atomically.

    A file has one layout: where prompt-completion rows stand beside others (with a system prompt of their own,
    or messages on both sides), all are written as messages.
    """
    rows = list(conversations)
    if len({row.kind for row in rows}) > 1:
        rows = [row.as_chat() for row in rows]
    lines = [json.dumps(row.to_row(), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    files.write_text(path, "".join(lines))
