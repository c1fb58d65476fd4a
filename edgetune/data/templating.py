"""Conversations as token ids and labels: loss on the answers only, up to the token that ends them.

:mod:`edgetune.data.rendering` proves on text where answers begin and end. Here the same
is asked of token ids: the ids of the prompt, tokenised alone as in use, must be the
first ids of the whole row. Labels then follow from lengths. Three cases are left:

* Prompt and answer merge into one token at their border (an answer that begins with a
  newline, a prompt that ends in a space). The model will never meet that token in use,
  so the answer is tokenised apart from its prompt, and the join is checked by decoding.
* White space after the end-of-turn token is never learnt: the model stops before it.
* The template writes no end-of-turn token: the tokenizer's EOS is put there.

Tokens after the last learnt one see no loss and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edgetune.console import progress
from edgetune.data.conversation import Conversation
from edgetune.data.encoding import IGNORE, Encoded, Encoder, Prompt
from edgetune.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "IGNORE",
    "Encoded",
    "EncodedSet",
    "Prompt",
    "TooLong",
    "encode",
    "encode_all",
    "encode_prompts",
    "encode_rows",
    "prompt_ids",
]

#: Conversations rendered and tokenised together: enough to keep the tokenizer's threads busy.
BATCH = 512

TooLong = Literal["drop", "truncate", "error"]


@dataclass(frozen=True)
class EncodedSet:
    """Encoded rows and what happened on the way.

    Attributes:
        rows: those to train on.
        conversations: how many were given.
        split: conversations that became one row for each answer.
        dropped: rows left out because they are too long (or have no answer left when cut).
        truncated: rows cut at the limit.
        lengths: tokens of every row before dropping and cutting.
        stop_ids: the ids that end an answer in these rows.
    """

    rows: tuple[Encoded, ...]
    conversations: int
    split: int
    dropped: int
    truncated: int
    lengths: tuple[int, ...]
    stop_ids: frozenset[int]

    @property
    def tokens(self) -> int:
        """Tokens in all rows."""
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def answer_tokens(self) -> int:
        """Tokens learnt in all rows."""
        return sum(label != IGNORE for row in self.rows for label in row.labels)


def encode_all(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    system: str | None = None,
    max_tokens: int | None = None,
    too_long: TooLong = "drop",
) -> EncodedSet:
    """Encode conversations for training.

    Args:
        conversations: the rows.
        tokenizer: of the model, with its chat template.
        system: system prompt for conversations that have none.
        max_tokens: longest row; None for no limit.
        too_long: what happens to longer rows.

    Raises:
        DataError: rows that cannot be encoded, rows too long under ``error``, or nothing left; all are named.
    """
    rows, encoder = encode_rows(conversations, tokenizer, system)
    encoder.raise_on_refused(len(conversations))
    fitting, truncated = _fit(rows, max_tokens, too_long)
    return EncodedSet(
        rows=tuple(fitting),
        conversations=len(conversations),
        split=encoder.split,
        dropped=len(rows) - len(fitting),
        truncated=truncated,
        lengths=tuple(len(row.input_ids) for row in rows),
        stop_ids=frozenset(encoder.stop_ids),
    )


def encode_rows(
    conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase, system: str | None
) -> tuple[list[Encoded], Encoder]:
    """Encode what can be encoded; the encoder knows what was refused."""
    encoder = Encoder(tokenizer, system)
    rows: list[Encoded] = []
    with progress("Tokenising", total=len(conversations), unit="rows") as bar:
        for start in range(0, len(conversations), BATCH):
            batch = conversations[start : start + BATCH]
            rows.extend(encoder.encode(batch))
            bar.advance(len(batch))
    return rows, encoder


def encode(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, system: str | None = None) -> Encoded:
    """Encode one conversation that fits into one row.

    Raises:
        DataError: it cannot be encoded, or each answer becomes a row of its own (use :func:`encode_all`).
    """
    rows = encode_all([conversation], tokenizer, system).rows
    if len(rows) != 1:
        raise DataError(
            f"{conversation.where}: becomes {len(rows)} rows, one for each answer as the model meets it in use",
            hint="encode it with encode_all",
        )
    return rows[0]


def encode_prompts(
    conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase, system: str | None = None
) -> list[Prompt]:
    """The prompt and reference of the last answer of each conversation, in order.

    Raises:
        DataError: plain text, or rows that the chat template refuses.
    """
    encoder = Encoder(tokenizer, system)
    prompts: list[Prompt] = []
    with progress("Tokenising prompts", total=len(conversations), unit="rows") as bar:
        for start in range(0, len(conversations), BATCH):
            batch = conversations[start : start + BATCH]
            prompts.extend(encoder.prompts(batch))
            bar.advance(len(batch))
    encoder.raise_on_refused(len(conversations))
    return prompts


def prompt_ids(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, system: str | None = None) -> Prompt:
    """The prompt and reference of the last answer.

    Raises:
        DataError: see :func:`encode_prompts`.
    """
    return encode_prompts([conversation], tokenizer, system)[0]


def _fit(rows: Sequence[Encoded], max_tokens: int | None, too_long: TooLong) -> tuple[list[Encoded], int]:
    """Rows within the limit, and how many of them were cut.

    Raises:
        DataError: rows too long under ``error``, or none left.
    """
    if max_tokens is None:
        return list(rows), 0
    problems = [f"{r.where}: {len(r.input_ids)} tokens" for r in rows if len(r.input_ids) > max_tokens]
    if problems and too_long == "error":
        raise DataError(
            f"{len(problems)} of {len(rows)} rows are longer than {max_tokens} tokens",
            hint="raise data.max_tokens, shorten the rows, or set data.too_long: drop",
            problems=problems,
        )
    kept = [_cut(row, max_tokens) if too_long == "truncate" else row for row in rows]
    kept = [row for row in kept if len(row.input_ids) <= max_tokens and any(label != IGNORE for label in row.labels)]
    if rows and not kept:
        raise DataError(
            f"all {len(rows)} rows are longer than {max_tokens} tokens; the shortest has "
            f"{min(len(row.input_ids) for row in rows)}",
            hint="raise data.max_tokens",
        )
    whole = sum(len(row.input_ids) <= max_tokens for row in rows)
    return kept, max(0, len(kept) - whole)


def _cut(row: Encoded, limit: int) -> Encoded:
    return replace(row, input_ids=row.input_ids[:limit], labels=row.labels[:limit])
