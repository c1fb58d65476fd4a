"""Plain text in passages, for perplexity.

They are cut by characters at ends of paragraphs, so that models with different tokenizers read the same ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgetune import files

#: Shortest passage: paragraphs are joined until they have so many characters.
SHORTEST = 600
#: Longer passages are cut at a word.
LONGEST = 1500


@dataclass(frozen=True)
class Passage:
    """A piece of text.

    Attributes:
        row: index in its text, from 0.
        opening: its first word, which the model reads only: nothing comes before it that could predict it.
        rest: what is predicted; begins with the space or line break after the first word.
    """

    row: int
    opening: str
    rest: str


@dataclass(frozen=True)
class Passages:
    """A text in passages.

    Attributes:
        name: where it is from, for people.
        passages: all of them.
        sha256: of the text.
    """

    name: str
    passages: tuple[Passage, ...]
    sha256: str


def read_passages(file: Path | None) -> Passages:
    """A text file in passages; without one the documentation of Python's language, which every Python carries.

    Raises:
        DataError: the file cannot be read as text, or is empty.
    """
    from edgetune.importance.keeping import general_text

    text = general_text(file)
    return Passages(text.name, cut(text.text), files.sha256_text(text.text))


def cut(text: str) -> tuple[Passage, ...]:
    r"""Cut at blank lines into passages of :data:`SHORTEST` to :data:`LONGEST` characters; the last may be shorter.

    >>> [(one.opening, one.rest) for one in cut("Some words.\n\nOne more.")]
    [('Some', ' words.\n\nOne more.')]
    """
    passages: list[Passage] = []
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        held = f"{held}\n\n{paragraph.strip()}" if held else paragraph.strip()
        if len(held) >= SHORTEST:
            passages += _passage(len(passages), held)
            held = ""
    return (*passages, *_passage(len(passages), held))


def _passage(row: int, text: str) -> list[Passage]:
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(maxsplit=1)[0]
    first = re.match(r"\S+", text)
    return [Passage(row, first[0], text[first.end() :])] if first and text[first.end() :].strip() else []
