"""Rows as a runtime meets them: prompts and answers through its own template and tokenizer.

The rules are those of training (:mod:`edgetune.data.templating`): an answer is what
the template adds to its prompt, up to the token that ends it; white space after that
token is nobody's answer. A template that asks for the date gets the one of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetune.data.conversation import Conversation
from edgetune.data.rendering import with_system
from edgetune.errors import ArtifactError, DataError
from edgetune.evaluation.loss import IGNORED
from edgetune.runtimes.protocol import Message, Tokenizer


@dataclass(frozen=True)
class Scored:
    """Tokens and labels for the loss; see :mod:`edgetune.evaluation.loss`."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """One row, ready to be asked and scored.

    Attributes:
        row: index in the rows file.
        prompt: the rendered prompt of the last answer; empty for plain text.
        prompt_ids: its tokens.
        reference: the answer expected, as the runtime's own tokens decode to; None for plain text.
        scored: token rows for the loss; more than one where the template rewrites earlier turns.
        group: what the row shares with rows like it.
    """

    row: int
    prompt: str
    prompt_ids: tuple[int, ...]
    reference: str | None
    scored: tuple[Scored, ...]
    group: str | None = None


@dataclass(frozen=True)
class _Span:
    """All tokens up to the end of an answer, where it begins, and the position of its last token."""

    ids: tuple[int, ...]
    start: int
    end: int


def ask(
    conversations: Sequence[Conversation], rows: Sequence[int], tokenizer: Tokenizer, system: str | None, context: int
) -> list[Question]:
    """Render and tokenise the rows.

    Args:
        conversations: the chosen rows.
        rows: their indexes in the file.
        tokenizer: the runtime's own.
        system: system prompt for rows that have none.
        context: tokens the runtime holds.

    Raises:
        DataError: rows that the template refuses or that do not fit the context; all are named.
    """
    questions: list[Question] = []
    problems: list[str] = []
    for row, conversation in zip(rows, conversations, strict=True):
        where = conversation.where or f"row {row + 1}"
        try:
            question = _question(row, conversation, tokenizer, system)
        except DataError as error:
            problems.append(f"{where}: {error.message}")
            continue
        longest = max((len(scored.input_ids) for scored in question.scored), default=0)
        if max(longest, len(question.prompt_ids) + 1) > context:
            problems.append(f"{where}: {longest} tokens do not fit the context of {context}")
        questions.append(question)
    if problems:
        raise DataError(
            f"{len(problems)} of {len(rows)} rows cannot be evaluated with this model",
            hint="mend or remove them; edgetune data check FILE shows more",
            problems=problems,
        )
    return questions


def _question(row: int, conversation: Conversation, tokenizer: Tokenizer, system: str | None) -> Question:
    if conversation.text is not None:
        ids = tuple(tokenizer.encode(conversation.text, special=False))
        return Question(row, "", (), None, (Scored(ids, ids),), conversation.group)
    messages = with_system(conversation.messages, system)
    learnt = [i for i, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight", 1) != 0]
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=None)
    if last is None:
        raise DataError("no answer to compare with")
    pairs = {i: _texts(conversation, messages, i, tokenizer) for i in {*learnt, last}}
    spans = {i: _span(prompt, upto, tokenizer) for i, (prompt, upto) in pairs.items()}
    span = spans[last]
    reference = tokenizer.decode(span.ids[span.start : _without_stop(span, tokenizer)])
    scored = _scored([spans[i] for i in learnt])
    return Question(row, pairs[last][0], span.ids[: span.start], reference, scored, conversation.group)


def _texts(conversation: Conversation, messages: Sequence[Message], at: int, tokenizer: Tokenizer) -> tuple[str, str]:
    """The prompt of answer ``at``, and all up to its end."""
    plain = [{key: value for key, value in message.items() if key != "weight"} for message in messages[: at + 1]]
    tools = conversation.tools or None
    try:
        prompt = tokenizer.render(plain[:at], add_generation_prompt=True, tools=tools, fixed_date=True)
        upto = tokenizer.render(plain, add_generation_prompt=False, tools=tools, fixed_date=True)
    except ArtifactError:
        # A model without a chat template still takes prompt and completion as they are.
        if conversation.kind != "completion" or len(plain) != 2:
            raise
        return plain[0]["content"], plain[0]["content"] + plain[1]["content"]
    if not upto.startswith(prompt):
        raise DataError("the chat template's generation prompt is not how it begins an answer")
    return prompt, upto


def _span(prompt: str, upto: str, tokenizer: Tokenizer) -> _Span:
    before, ids = tokenizer.encode(prompt), tokenizer.encode(upto)
    if ids[: len(before)] != before:
        # Prompt and answer share a token at their border; in use the model never meets it.
        ids = before + tokenizer.encode(upto[len(prompt) :])
    end = len(ids) - 1
    while end >= len(before) and ids[end] not in tokenizer.stop_ids and not tokenizer.decode([ids[end]]).strip():
        end -= 1
    if end < len(before):
        raise DataError("the chat template leaves nothing of the answer")
    return _Span(tuple(ids[: end + 1]), len(before), end)


def _without_stop(span: _Span, tokenizer: Tokenizer) -> int:
    return span.end if span.ids[span.end] in tokenizer.stop_ids else span.end + 1


def _scored(spans: Sequence[_Span]) -> tuple[Scored, ...]:
    """One token row with all answers where each is a beginning of the longest, else one a span."""
    if not spans:
        return ()
    whole = spans[-1]
    together = [span for span in spans if whole.ids[: len(span.ids)] == span.ids]
    apart = [[span] for span in spans if span not in together]
    return tuple(_label(group) for group in [*apart, together])


def _label(spans: Sequence[_Span]) -> Scored:
    ids = spans[-1].ids
    labels = [IGNORED] * len(ids)
    for span in spans:
        labels[span.start : span.end + 1] = ids[span.start : span.end + 1]
    return Scored(ids, tuple(labels))
