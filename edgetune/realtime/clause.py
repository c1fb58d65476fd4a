"""When speech can begin: the first clause of an answer that a synthesiser could be given."""

from __future__ import annotations

import re

#: A clause without punctuation is spoken after so many words: by then a listener would hear the pause.
WORDS = 12
CLAUSE_DEFINITION = (
    "first clause that a speech synthesiser could begin with: up to the first . , ; : ! ? … before a space, the first "
    f"full-width mark, a line break, or {WORDS} words, or the end of the answer; an answer in JSON (or a code block) "
    "is ready when it is whole"
)
_WHOLE = ("{", "[", "`")
_END = re.compile(
    rf"\S*\w.*?(?:[.,;:!?…][\"')»”’]*(?=\s)|[。，、；：！？]|\n)|(?:\S+\s+){{{WORDS}}}",  # noqa: RUF001  # marks of scripts without spaces
    re.DOTALL,
)


def clause_is_ready(text: str) -> bool:
    """Whether an answer that goes on after ``text`` could already be spoken from.

    A mark counts once the space after it is there: the point in ``21.5`` ends nothing.

    >>> [clause_is_ready(text) for text in ("It is 21.5", "It is 21.5 degrees. ", "Yes,", "Yes, I", '{"a": 1, ')]
    [False, True, False, True, False]
    """
    text = text.lstrip()
    return not text.startswith(_WHOLE) and _END.match(text) is not None
