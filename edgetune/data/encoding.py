"""From rendered text to token ids and labels, a batch of conversations at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgetune.data.conversation import Conversation
from edgetune.data.rendering import Answer, Rendered, Renderer, RowRefusedError, one_by_one
from edgetune.data.tokens import Ends, Tokens
from edgetune.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Label of a token that is read but not learnt; the value PyTorch's cross entropy ignores.
IGNORE = -100

Result = TypeVar("Result")


@dataclass(frozen=True)
class Encoded:
    """One row as the model learns it.

    Attributes:
        input_ids: token ids.
        labels: the same ids where they are learnt, ``IGNORE`` elsewhere; not shifted.
        where: file and line the row came from.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    where: str = ""


class Prompt(NamedTuple):
    """What the model reads before its last answer, and the answer it should give.

    Attributes:
        ids: token ids, exactly as in use.
        reference: the expected answer as the model's own tokens decode to, special tokens left out.
    """

    ids: tuple[int, ...]
    reference: str


class Encoder:
    """Encodes conversations, and remembers what happened.

    Attributes:
        stop_ids: tokens that ended answers.
        split: conversations that became several rows.
        refused: (where, why) of conversations that could not be encoded.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, system: str | None) -> None:
        self.stop_ids: set[int] = set()
        self.split = 0
        self.refused: list[tuple[str, str]] = []
        self._tokenizer = tokenizer
        self._renderer = Renderer(tokenizer, system)
        self._tokens = Tokens(tokenizer, raw=not tokenizer.chat_template)
        self._plain = Tokens(tokenizer, raw=True)
        self._ends = Ends(tokenizer)

    def encode(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """Rows of all conversations in order; one conversation can become several."""
        rendered = [(c, self._try(c, partial(self._render, c))) for c in conversations]
        self._tokens.learn(text for _, rows in rendered for row in rows or () for text in _texts(row))
        self._plain.learn(c.text for c in conversations if c.text is not None)
        done: list[Encoded] = []
        for conversation, rows in rendered:
            if rows is None:
                continue
            encoded = self._try(conversation, partial(self._rows, conversation, rows))
            self.split += len(encoded or ()) > 1
            done.extend(encoded or ())
        return done

    def prompts(self, conversations: Sequence[Conversation]) -> list[Prompt]:
        """The last prompt of each conversation, in order."""
        answers = [(c, self._try(c, partial(self._last, c))) for c in conversations]
        self._tokens.learn(text for _, answer in answers if answer for text in (answer.prompt, answer.upto))
        found = [self._try(c, partial(self._prompt, answer)) for c, answer in answers if answer]
        return [prompt for prompt in found if prompt]

    def raise_on_refused(self, total: int) -> None:
        """Raise what was collected.

        Raises:
            DataError: naming each row; where all have one reason, the message gives it.
        """
        if not self.refused:
            return
        reasons = {reason for _, reason in self.refused}
        detail = f": {next(iter(reasons))}" if len(reasons) == 1 else ""
        raise DataError(
            f"{len(self.refused)} of {total} rows do not fit this model's chat template{detail}",
            hint="mend the rows, or give a template that fits them in the recipe: model.chat_template: FILE.jinja",
            problems=[f"{where}: {reason}" for where, reason in self.refused],
        )

    def _try(self, conversation: Conversation, step: Callable[[], Result]) -> Result | None:
        try:
            return step()
        except RowRefusedError as refusal:
            self.refused.append((conversation.where, str(refusal)))
            return None

    def _render(self, conversation: Conversation) -> tuple[Rendered, ...]:
        return () if conversation.text is not None else self._renderer.render(conversation)

    def _last(self, conversation: Conversation) -> Answer:
        if conversation.text is not None:
            raise RowRefusedError("plain text holds no question to answer")
        return self._renderer.last(conversation)

    def _prompt(self, answer: Answer) -> Prompt:
        ids, stop = self._answer_ids(answer)
        start = len(self._tokens.of(answer.prompt))
        return Prompt(tuple(ids[:start]), self._tokens.decode(ids[start:stop], special=False))

    def _rows(self, conversation: Conversation, rendered: Sequence[Rendered]) -> list[Encoded]:
        if conversation.text is not None:
            ids = self._with_eos(self._plain.of(conversation.text))
            return [Encoded(tuple(ids), tuple(ids), conversation.where)]
        return [encoded for row in rendered for encoded in self._row(row)]

    def _row(self, row: Rendered) -> list[Encoded]:
        """One row where token prefixes hold throughout, else one for each answer."""
        ids = self._tokens.of(row.full)
        labels = [IGNORE] * len(ids)
        end = 0
        for answer in row.answers:
            span = self._span(ids, answer)
            if span is None:
                return [self._alone(part) for part in one_by_one(row)]
            labels[span] = ids[span]
            end = span.stop
            self.stop_ids.add(ids[end - 1])
        return [Encoded(tuple(ids[:end]), tuple(labels[:end]), row.where)]

    def _span(self, ids: list[int], answer: Answer) -> slice | None:
        """Where ``answer`` and its end-of-turn token lie in ``ids``; None unless token prefixes prove it."""
        prompt, upto = self._tokens.of(answer.prompt), self._tokens.of(answer.upto)
        stop = self._ends.find(upto, len(prompt), answer.content)
        if stop is None or ids[: len(prompt)] != prompt or ids[: stop + 1] != upto[: stop + 1]:
            return None
        _require_answer(ids[len(prompt) : stop + 1])
        return slice(len(prompt), stop + 1)

    def _alone(self, row: Rendered) -> Encoded:
        """A row of one answer that needs an EOS of ours, or is tokenised apart from its prompt."""
        (answer,) = row.answers
        ids, stop = self._answer_ids(answer)
        start = len(self._tokens.of(answer.prompt))
        self.stop_ids.add(ids[stop])
        ids = ids[: stop + 1]
        return Encoded(tuple(ids), (IGNORE,) * start + tuple(ids[start:]), row.where)

    def _answer_ids(self, answer: Answer) -> tuple[list[int], int]:
        """Ids of prompt and answer such that the prompt's are those of use, and the position of the end token."""
        prompt, ids = self._tokens.of(answer.prompt), self._tokens.of(answer.upto)
        if ids[: len(prompt)] != prompt:
            joined = prompt + self._tokens.inside(answer.upto[len(answer.prompt) :])
            if self._tokens.decode(joined) != self._tokens.decode(ids):
                raise RowRefusedError(
                    "prompt and answer do not join cleanly in this tokenizer; move the white space at the end of the "
                    "prompt to the answer"
                )
            ids = joined
        stop = self._ends.find(ids, len(prompt), answer.content)
        if stop is None:
            ids = self._with_eos(ids)
            stop = len(ids) - 1
        _require_answer(ids[len(prompt) : stop + 1])
        return ids, stop

    def _with_eos(self, ids: list[int]) -> list[int]:
        eos = self._tokenizer.eos_token_id
        if eos is None:
            raise RowRefusedError("nothing ends the answer: the tokenizer has no end-of-sequence token")
        return ids if ids[-1:] == [eos] else [*ids, eos]


def _texts(row: Rendered) -> list[str]:
    return [row.full, *(text for answer in row.answers for text in (answer.prompt, answer.upto))]


def _require_answer(ids: Sequence[int]) -> None:
    """Refuse an answer, given with its end token, that is empty or ends before its end."""
    if len(ids) < 2:
        raise RowRefusedError("the chat template leaves nothing of the answer")
    if ids[-1] in ids[:-1]:
        raise RowRefusedError("the answer contains the token that ends answers: the model would learn to stop early")
