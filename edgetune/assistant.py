"""Talking to an artifact from Python: what ``edgetune.load`` returns. Needs the ``gguf`` extra only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from edgetune.artifact import open_artifact
from edgetune.data.rendering import with_system
from edgetune.runtimes import adapters_of, open_with_adapters
from edgetune.runtimes.protocol import Decoding, Message, Runtime, SwitchesAdapters, Tokenizer

#: A whole conversation, or the text of one user message.
Question = str | Sequence[Message]
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Assistant:
    """A loaded model that answers. Close it, or use it in a ``with`` statement.

    Args:
        runtime: what runs the model; closed with the assistant.
        system: system prompt for conversations that have none; None takes the one the model was trained
            with, an empty text takes none.
        decoding: defaults of :meth:`chat` and :meth:`stream`.

    >>> from edgetune.runtimes.fake import FakeRuntime
    >>> with Assistant(FakeRuntime({"Hi": "Hello!"})) as assistant:
    ...     assistant.chat("Hi")
    'Hello!'
    """

    def __init__(self, runtime: Runtime, *, system: str | None = None, decoding: Decoding | None = None) -> None:
        self.runtime = runtime
        self._system = system
        self.decoding = decoding or Decoding()

    @property
    def system(self) -> str | None:
        """System prompt for conversations that have none: the one given, else that of the model or adapter in use."""
        return (self.runtime.system if self._system is None else self._system) or None

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that :meth:`use` can put on; none for a runtime that keeps none."""
        return self.runtime.adapters if isinstance(self.runtime, SwitchesAdapters) else ()

    @property
    def adapter(self) -> str | None:
        """Name of the adapter in use; None: the model alone."""
        return self.runtime.adapter if isinstance(self.runtime, SwitchesAdapters) else None

    def use(self, adapter: str | None) -> None:
        """Go on with another adapter, or with the base alone; the base is not loaded again.

        Raises:
            ArtifactError: none of that name is loaded.
        """
        adapters_of(self.runtime).use_adapter(adapter)

    def chat(self, question: Question, **changes: Any) -> str:
        """The whole answer.

        Args:
            question: a user message, or a list of messages ``{"role": …, "content": …}``.
            changes: fields of :class:`~edgetune.runtimes.protocol.Decoding`: ``max_new_tokens``, ``temperature``, …
        """
        return "".join(self.stream(question, **changes))

    def stream(self, question: Question, **changes: Any) -> Iterator[str]:
        """The answer in pieces as it is computed; no piece ends within a character.

        Raises:
            DataError: the conversation does not fit the context, or the chat template refuses it.
        """
        tokenizer = self.runtime.tokenizer
        prompt = tokenizer.encode(tokenizer.render(self.messages(question)))
        return text_pieces(self.runtime.stream(prompt, replace(self.decoding, **changes)), tokenizer)

    def messages(self, question: Question) -> tuple[Message, ...]:
        """The conversation as the model sees it, the system prompt included."""
        given: Sequence[Message] = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return with_system([dict(message) for message in given], self.system)

    def close(self) -> None:
        """Free the model."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load(
    path: Path | str,
    *,
    adapters: Mapping[str, Path | str] | None = None,
    system: str | None = None,
    threads: int | None = None,
    context: int | None = None,
    **decoding: Any,
) -> Assistant:
    """Load an artifact for use in an application.

    Args:
        path: an artifact folder or a .gguf file.
        adapters: name → adapter artifact or GGUF LoRA, all on the base that ``path`` is; the first is in use until
            :meth:`Assistant.use` says otherwise.
        system: replaces the system prompt the model was trained with; an empty text takes none.
        threads: default: the physical cores this process may use.
        context: longest conversation in tokens; default: the model's own, at most 4096.
        decoding: fields of :class:`~edgetune.runtimes.protocol.Decoding` as defaults: ``max_new_tokens``, …

    Raises:
        ArtifactError: not an artifact, damaged, or an adapter of another base.
        MissingExtra: the runtime is not installed.
    """
    opened = {name: open_artifact(Path(adapter)) for name, adapter in (adapters or {}).items()}
    runtime = open_with_adapters(open_artifact(Path(path)), opened, threads=threads, context=context)
    return Assistant(runtime, system=system, decoding=Decoding(**decoding))


def text_pieces(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Turn a token stream into text pieces that join to the decoded whole.

    A character may span several tokens and a tokeniser may treat the first token of a text apart, so each new
    token is decoded together with those of the last piece, and held back while the text ends in an unfinished
    character.
    """
    last: list[int] = []
    held: list[int] = []
    for token in tokens:
        held.append(token)
        text = _added(last, held, tokenizer)
        if text and not text.endswith(_REPLACEMENT):
            yield text
            last, held = held, []
    if text := _added(last, held, tokenizer):
        yield text


def _added(last: Sequence[int], held: Sequence[int], tokenizer: Tokenizer) -> str:
    """What ``held`` adds to the text of ``last``."""
    return tokenizer.decode([*last, *held])[len(tokenizer.decode(last)) :]
