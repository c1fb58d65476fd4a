"""Which rows are held out, and whether held-out rows were seen in training.

Everything is chosen by hash: the side of a row depends on the seed and on the row
itself, not on its place in the file, and rows with one prompt or one group always share a side.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgetune.data.conversation import Conversation
from edgetune.errors import DataError

#: Fewer groups held out are told of: intervals that draw whole groups say little of so few.
_FEW_SETS = 5


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows held out, each in file order.

    Attributes:
        train: rows to train on.
        heldout: rows for loss and metrics only.
        reason: how they were parted, for people.
    """

    train: tuple[Conversation, ...]
    heldout: tuple[Conversation, ...]
    reason: str


@dataclass(frozen=True)
class Leak:
    """A held-out row that training has seen.

    Attributes:
        heldout: where the held-out row is.
        train: where its first twin is.
        kind: ``row`` (prompt and answer), ``prompt`` (another answer), or ``near prompt`` (equal but for
            case, white space and Unicode form).
    """

    heldout: str
    train: str
    kind: str


def split(conversations: Sequence[Conversation], share: float, seed: int, system: str | None = None) -> Split:
    """Hold out about ``share`` of the rows; rows with the same prompt, or of the same group, stay together.

    Args:
        conversations: all rows.
        share: of the rows, above 0 and below 1.
        seed: another seed gives another split.
        system: the recipe's system prompt, which goes before rows that have none of their own.

    Raises:
        DataError: nothing is to be held out, or too few distinct prompts to fill both sides.
    """
    if share <= 0:
        raise DataError(
            "data.heldout_share is 0 and there is no held-out file: nothing could be measured",
            hint="--data-heldout-share 0.02, or give a file of held-out rows: --data-heldout FILE",
        )
    groups = _inseparable([_without(system, row) for row in conversations])
    grouped = any(conversation.group is not None for conversation in conversations)
    if len(groups) < 2:
        raise DataError(
            f"cannot hold rows out: all {len(conversations)} rows have the same prompt{' or group' if grouped else ''}",
            hint="give a file of held-out rows in the recipe: data.heldout: FILE",
        )
    wanted = min(max(1, round(share * len(conversations))), len(conversations) - 1)
    held: set[int] = set()
    for key in sorted(groups, key=lambda key: _hash(seed, key)):
        if len(held) + len(groups[key]) <= wanted:
            held.update(groups[key])
    held = held or set(min((len(group), group) for group in groups.values())[1])
    sets = sum(rows[0] in held for rows in groups.values())
    few = ""
    if grouped and sets < _FEW_SETS:
        few = f"; only {sets} of them held out, so figures say little of other groups: raise data.heldout_share"
    return Split(
        tuple(c for i, c in enumerate(conversations) if i not in held),
        tuple(c for i, c in enumerate(conversations) if i in held),
        f"{len(held)} of {len(conversations)} rows held out by hash with seed {seed}; "
        f"rows with one prompt {'or group ' if grouped else ''}stay together "
        f"({len(groups)} {'sets' if grouped else 'prompts'}{few})",
    )


def _inseparable(conversations: Sequence[Conversation]) -> dict[str, list[int]]:
    """Rows that must share a side: the least of their prompts → their indexes, in file order."""
    prompts: dict[str, list[int]] = defaultdict(list)
    for index, conversation in enumerate(conversations):
        prompts[prompt_key(conversation, near=True)].append(index)
    sets = {prompt: {prompt} for prompt in prompts}  # the prompts of one set share the object
    seen: dict[str, str] = {}  # group → a prompt of it
    for prompt, rows in prompts.items():
        for group in {conversations[row].group for row in rows} - {None}:
            known = sets[seen.setdefault(str(group), prompt)]
            if known is not sets[prompt]:
                known |= sets[prompt]
                sets |= dict.fromkeys(sets[prompt], known)
    together = {id(members): members for members in sets.values()}.values()
    return {min(members): sorted(row for prompt in members for row in prompts[prompt]) for members in together}


def take(conversations: Sequence[Conversation], limit: int | None, seed: int) -> tuple[Conversation, ...]:
    """At most ``limit`` rows, chosen by seed, in file order."""
    if limit is None or len(conversations) <= limit:
        return tuple(conversations)
    order = sorted(range(len(conversations)), key=lambda i: (_hash(seed, row_key(conversations[i])), i))
    chosen = set(order[:limit])
    return tuple(c for i, c in enumerate(conversations) if i in chosen)


def find_leaks(
    train: Sequence[Conversation], heldout: Sequence[Conversation], system: str | None = None
) -> tuple[Leak, ...]:
    """Held-out rows whose row or prompt is in the training rows; the closest kind of likeness for each.

    Args:
        train: rows that are known.
        heldout: rows that should be new.
        system: the recipe's system prompt, which goes before rows that have none of their own.
    """
    train, heldout = ([_without(system, row) for row in rows] for rows in (train, heldout))
    keys: dict[str, Callable[[Conversation], str]] = {
        "row": lesson_key,
        "prompt": prompt_key,
        "near prompt": lambda c: prompt_key(c, near=True),
    }
    seen = {kind: _first_places(train, key) for kind, key in keys.items()}
    leaks = []
    for row in heldout:
        found = ((kind, seen[kind].get(key(row))) for kind, key in keys.items())
        kind, twin = next(((kind, twin) for kind, twin in found if twin is not None), ("", None))
        if twin is not None:
            leaks.append(Leak(row.where, twin, kind))
    return tuple(leaks)


def _without(system: str | None, row: Conversation) -> Conversation:
    """The row without the system prompt that a row without one gets anyway: the model reads both alike."""
    if system is None or row.messages[:1] != ({"role": "system", "content": system},):
        return row
    return replace(row, messages=row.messages[1:])


def _first_places(rows: Sequence[Conversation], key: Callable[[Conversation], str]) -> dict[str, str]:
    places: dict[str, str] = {}
    for row in rows:
        places.setdefault(key(row), row.where)
    return places


def lesson_key(conversation: Conversation) -> str:
    """A text that two rows share exactly when they teach the same, however they are written."""
    return row_key(conversation.as_chat())


def row_key(conversation: Conversation) -> str:
    """A text that two rows share exactly when they teach the same and are written alike."""
    return json.dumps(conversation.taught(), sort_keys=True, ensure_ascii=False)


def prompt_key(conversation: Conversation, *, near: bool = False) -> str:
    """What the model reads before its last answer; with ``near``, without regard to case, spacing and Unicode form.

    Plain text is its own prompt. Tools are left out: the same question with other tools is the same question.
    """
    form = normalise if near else str
    if conversation.text is not None:
        return form(conversation.text)
    return "\0".join(f"{message['role']}: {form(message['content'])}" for message in conversation.prompt)


def normalise(text: str) -> str:
    r"""Text without differences that hardly change a question.

    >>> normalise("  Turn ON the\u00a0light ")
    'turn on the light'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()
