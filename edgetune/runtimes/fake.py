"""A runtime for tests: scripted answers and logits in closed form, no model and no dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.runtimes.protocol import Completion, Decoding, Message

#: Control tokens come after the 256 bytes.
STOP, TURN = 256, 257
VOCABULARY = 258
_MARKS = {"<stop>": STOP, "<turn>": TURN}


class FakeTokenizer:
    """One token a UTF-8 byte, plus ``<stop>`` and ``<turn>``.

    >>> tokenizer = FakeTokenizer()
    >>> tokenizer.render([{"role": "user", "content": "Hi"}])
    '<turn>user:Hi<stop><turn>assistant:'
    >>> tokenizer.encode("Hi<stop>")
    [72, 105, 256]
    """

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset({STOP})

    @property
    def beginning(self) -> tuple[int, ...]:
        """Nothing."""
        return ()

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        fixed_date: bool = False,  # noqa: ARG002  # it writes no date
    ) -> str:
        """``<turn>role:content<stop>`` for each message, and one turn for the names of the tools."""
        turns = "".join(f"<turn>{message['role']}:{message['content']}<stop>" for message in messages)
        if tools:
            turns = f"<turn>tools:{' '.join(tool['function']['name'] for tool in tools)}<stop>{turns}"
        return turns + ("<turn>assistant:" if add_generation_prompt else "")

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Bytes, and the marks as control tokens if ``special``."""
        tokens: list[int] = []
        while text:
            mark = next((mark for mark in _MARKS if special and text.startswith(mark)), None)
            tokens += [_MARKS[mark]] if mark else list(text[0].encode())
            text = text[len(mark or " ") :]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """UTF-8 text of the bytes among ``tokens``."""
        return bytes(token for token in tokens if token < STOP).decode("utf-8", errors="replace")


class FakeRuntime:
    """Answers from a script.

    Args:
        answers: last user message → answer; or a function from that message to the answer.
        default: answer to anything else.
        confidence: logit of the token that really comes next, all others having 0, so that the loss of every
            token of a text is known: log(e^confidence + 257) - confidence.
        system: as the trained system prompt.
        context_length: longest prompt plus answer.

    >>> runtime = FakeRuntime({"Hi": "Hello!"})
    >>> prompt = runtime.tokenizer.encode(runtime.tokenizer.render([{"role": "user", "content": "Hi"}]))
    >>> runtime.generate([prompt], Decoding())[0].text
    'Hello!'
    """

    name = "fake"

    def __init__(
        self,
        answers: Mapping[str, str] | Callable[[str], str],
        *,
        default: str = "",
        confidence: float = 10.0,
        system: str | None = None,
        context_length: int = 4096,
    ) -> None:
        self._answer = answers if callable(answers) else lambda question: answers.get(question, default)
        self._confidence = confidence
        self.system = system
        self.context_length = context_length
        self.tokenizer = FakeTokenizer()
        self.closed = False

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Favour at each position the token that follows in ``tokens`` (``<stop>`` after the last)."""
        result = np.zeros((len(tokens), VOCABULARY), np.float32)
        result[np.arange(len(tokens)), [*tokens[1:], STOP]] = self._confidence
        return result[start:]

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield the scripted answer byte by byte."""
        yield from self._tokens(prompt, decoding)[0]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """The scripted answers, in order."""
        completions = []
        for count, prompt in enumerate(prompts, start=1):
            tokens, stopped = self._tokens(prompt, decoding)
            text = self.tokenizer.decode(tokens)
            completions.append(Completion(tuple(tokens), text, "stop" if stopped else "length"))
            if on_done:
                on_done(count)
        return completions

    def reset(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _tokens(self, prompt: Sequence[int], decoding: Decoding) -> tuple[list[int], bool]:
        """The answer to the last user turn of a rendered prompt, and whether it ended within the limit."""
        user = self.tokenizer.encode("<turn>user:")
        starts = [at for at in range(len(prompt)) if list(prompt[at : at + len(user)]) == user]
        question = list(prompt[starts[-1] + len(user) :]) if starts else list(prompt)
        end = question.index(STOP) if STOP in question else len(question)
        answer = self.tokenizer.encode(self._answer(self.tokenizer.decode(question[:end])), special=False)
        stops = [at for at, token in enumerate(answer) if token in decoding.extra_stop_ids]
        answer = answer[: stops[0]] if stops else answer
        return answer[: decoding.max_new_tokens], len(answer) < decoding.max_new_tokens
