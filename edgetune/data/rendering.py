r"""Conversations as text, through the model's own chat template, with the ends of every answer proved.

The template is the only authority on how a conversation looks. Where an answer begins
and ends is not searched for in its output; it follows from rendering the conversation
three times::

    prompt   the messages before the answer, with the generation prompt      "…<|im_start|>assistant\n"
    upto     the messages up to and with the answer                          "…<|im_start|>assistant\nHi<|im_end|>\n"
    full     all messages

``prompt`` is exactly what the model sees in use. When it is a prefix of ``upto``, the
difference is what the model has to write; when ``upto`` is a prefix of ``full``, that
holds in the whole conversation too. Where a template rewrites earlier turns (Qwen3
drops their thinking), ``upto`` is no prefix of ``full``: the conversation is then split
into one row for each answer, since each ``upto`` is what the model meets in use. Where
``prompt`` is no prefix of ``upto``, no row could be right and the template is refused;
but for one kind (Mistral's) whose answers lack the system prompt that their prompts
have: see :meth:`Template._told_in_question`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgetune.data.conversation import Conversation, Message
from edgetune.runtimes.template import with_fixed_date

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RowRefusedError(Exception):
    """This row cannot be rendered or encoded; the text says why. Collected, never shown on its own."""


@dataclass(frozen=True)
class Answer:
    """One answer to learn, as text.

    Attributes:
        prompt: all that comes before it, a prefix of ``upto``.
        upto: all up to its end, with what the template writes after it.
        content: the message's own content, to tell it from what the template adds.
    """

    prompt: str
    upto: str
    content: str


@dataclass(frozen=True)
class Rendered:
    """One row as text: ``full`` begins with ``upto`` of each of its answers."""

    full: str
    answers: tuple[Answer, ...]
    where: str


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Put ``system`` first, unless the conversation has a system message of its own.

    >>> with_system([{"role": "user", "content": "Hi"}], "Be brief")[0]
    {'role': 'system', 'content': 'Be brief'}
    """
    own = any(message["role"] in ("system", "developer") for message in messages)
    return tuple(messages) if system is None or own else ({"role": "system", "content": system}, *messages)


def one_by_one(row: Rendered) -> tuple[Rendered, ...]:
    """The same answers as rows of their own."""
    return tuple(replace(row, full=answer.upto, answers=(answer,)) for answer in row.answers)


class Renderer:
    """Renders conversations for one model.

    Args:
        tokenizer: with its chat template.
        system: system prompt for conversations that have none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, system: str | None) -> None:
        self.tokenizer = tokenizer
        self.system = system
        #: Text of every control token.
        self.control = tuple(str(token) for token in tokenizer.added_tokens_decoder.values())

    def render(self, conversation: Conversation) -> tuple[Rendered, ...]:
        """Render a conversation: one row, or one for each answer where the template rewrites earlier turns.

        Raises:
            RowRefusedError: the template refuses the messages, drops something, or breaks the prefix rule.
        """
        if not self.tokenizer.chat_template:
            return (_raw(conversation, self.system),)
        template = Template(self, conversation)
        answers = tuple(template.answer(at) for at in template.learnt())
        if not answers:
            raise RowRefusedError("no answer to learn from: every assistant message has weight 0")
        row = Rendered(template.text(template.messages), answers, conversation.where)
        whole = all(row.full.startswith(answer.upto) for answer in answers)
        return (row,) if whole else one_by_one(row)

    def last(self, conversation: Conversation) -> Answer:
        """The last answer and its prompt, whatever its weight.

        Raises:
            RowRefusedError: see :meth:`render`.
        """
        if not self.tokenizer.chat_template:
            return _raw(conversation, self.system).answers[0]
        template = Template(self, conversation)
        return template.answer(replace(conversation, messages=template.messages).last_answer)


class Template:
    """One conversation and the template it is rendered with.

    Raises:
        RowRefusedError: the template cannot express the conversation.
    """

    def __init__(self, renderer: Renderer, conversation: Conversation) -> None:
        self.renderer = renderer
        self.tools: list[Any] | None = list(conversation.tools) or None
        self.source = renderer.tokenizer.get_chat_template(tools=self.tools)
        if any(message.get("tool_calls") for message in conversation.messages) and "tool_calls" not in self.source:
            raise RowRefusedError("the model's chat template has no place for tool_calls")
        if self.tools and "tools" not in self.source:
            raise RowRefusedError("the model's chat template has no place for tools")
        self.messages = with_system(conversation.messages, renderer.system)
        if "developer" not in self.source:
            self.messages = tuple(m | {"role": "system"} if m["role"] == "developer" else m for m in self.messages)
        self.source = with_fixed_date(self.source)

    def learnt(self) -> list[int]:
        """Indices of the assistant messages to learn from: weight 1 unless it says 0."""
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant" and m.get("weight", 1) != 0]

    def answer(self, at: int) -> Answer:
        """The answer that message ``at`` is, with the proof that its prompt precedes it."""
        before, message = self.messages[:at], self.messages[at]
        prompt = self.text(before, add_generation_prompt=True)
        upto = self.text((*before, message))
        if not upto.startswith(prompt):
            upto = self._told_in_question(before, message, prompt) or upto
        if not upto.startswith(prompt):
            raise RowRefusedError(
                "the chat template's generation prompt is not how it begins an answer: in use the model would read "
                f"…{prompt[-40:]!r}, in training …{upto[_common(prompt, upto) :][:40]!r}"
            )
        return Answer(prompt, self._without_closing(at, prompt, upto), message["content"])

    def _told_in_question(self, before: tuple[Message, ...], message: Message, prompt: str) -> str | None:
        """The answer's render for templates that show the system prompt only while a question is last.

        Mistral's write it into the last question, and leave it out once an answer follows. Writing it
        there ourselves gives, if the prompt comes out exactly as in use, the answer as it is in use.
        """
        system, *others = before
        if system["role"] != "system" or not others or others[-1]["role"] != "user":
            return None
        question = others[-1] | {"content": f"{system['content']}\n\n{others[-1]['content']}"}
        told = (*others[:-1], question)
        return self.text((*told, message)) if self.text(told, add_generation_prompt=True) == prompt else None

    def _without_closing(self, at: int, prompt: str, upto: str) -> str:
        """``upto`` without what the template writes after the last message of all, as Phi-3's does with EOS.

        Where two control tokens end the answer, the turn ends with the first if only that is still
        there when another question follows.
        """
        control = self.renderer.control
        last = next((token for token in control if upto.rstrip().endswith(token)), "")
        turn = upto.rstrip().removesuffix(last).rstrip()
        if not last or not turn.endswith(control) or len(turn) <= len(prompt):
            return upto
        question = {"role": "user", "content": "."}
        following = self.text((*self.messages[: at + 1], question), add_generation_prompt=True)
        return turn if following.startswith(turn) and not following.startswith(upto) else upto

    def text(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Render messages.

        Raises:
            RowRefusedError: there are none, or the template raises.
        """
        from jinja2 import TemplateError

        if not messages:
            raise RowRefusedError("the conversation begins with the assistant: there is nothing to answer")
        try:
            return str(
                self.renderer.tokenizer.apply_chat_template(
                    [{key: value for key, value in message.items() if key != "weight"} for message in messages],
                    tools=self.tools,
                    chat_template=self.source,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                )
            )
        except (TemplateError, TypeError, KeyError, AttributeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise RowRefusedError(f"the model's chat template refuses it: {error} (roles: {roles})") from error


def _raw(conversation: Conversation, system: str | None) -> Rendered:
    """Prompt and completion as they are, for models without a chat template."""
    if conversation.kind != "completion":
        raise RowRefusedError("the model has no chat template, which messages need")
    if system is not None:
        raise RowRefusedError("the model has no chat template, so there is no place for task.system")
    prompt, completion = (message["content"] for message in conversation.messages)
    full = prompt + completion
    return Rendered(full, (Answer(prompt, full, completion),), conversation.where)


def _common(one: str, other: str) -> int:
    """Length of the common beginning."""
    differing = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))
