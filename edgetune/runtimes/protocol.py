"""What a runtime is: something that runs an artifact. Importable without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact

#: One chat message: ``{"role": "user", "content": "…"}``; further keys as in the OpenAI format.
Message = Mapping[str, Any]
#: Types of the key-value cache that a runtime may offer.
KvCache = Literal["f16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen. The default is greedy.

    Attributes:
        max_new_tokens: longest answer, in tokens.
        temperature: 0 is greedy.
        top_p: nucleus; 1 keeps all.
        seed: of the sampler.
        extra_stop_ids: stop ids besides the model's own.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    extra_stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Completion:
    """One answer.

    Attributes:
        tokens: new tokens without the stop token.
        text: the tokens decoded, special tokens left out.
        finish: ``stop`` (a stop token came) or ``length``.
    """

    tokens: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"] = field(default="stop")


class Tokenizer(Protocol):
    """Text in, token ids out, exactly as the runtime itself does it."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        ...

    @property
    def beginning(self) -> tuple[int, ...]:
        """What the tokenizer puts before plain text of its own accord: BOS, or nothing."""
        ...

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        fixed_date: bool = False,
    ) -> str:
        """Apply the chat template that travels with the model.

        Args:
            messages: the conversation.
            add_generation_prompt: end where the assistant has to answer.
            tools: JSON schemas of functions it may call.
            fixed_date: templates that ask for the date get that of training
                (:data:`edgetune.runtimes.template.FIXED_DATE`), as evaluation needs it, and not today's.
        """
        ...

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; ``special`` parses control tokens written in the text. Never adds BOS: templates write it."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, control tokens left out."""
        ...


class Runtime(Protocol):
    """Runs one loaded artifact. Not thread-safe. Close it to free its memory."""

    name: str

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def context_length(self) -> int:
        """Longest prompt plus answer, in tokens."""
        ...

    @property
    def system(self) -> str | None:
        """System prompt the model was trained with, if any."""
        ...

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Next-token logits at every position from ``start`` on: shape (len(tokens) - start, vocabulary), float32.

        With a ``start``, what an earlier call computed of the same beginning may be used again.
        """
        ...

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield new tokens one by one as they are computed, without the stop token."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts, batched; the order is kept. ``on_done`` is told the count as prompts finish."""
        ...

    def reset(self) -> None:
        """Forget what earlier calls computed, so that the next prompt is computed whole: for measurements."""
        ...

    def close(self) -> None: ...


class RawLoop(Protocol):
    """The runtime's own lowest-level loop: no template, no tokeniser, no sampler of ours, no text.

    It is what a speed given for a runtime is usually measured with, so that the cost of everything around it
    can be shown. Nothing is held at first.
    """

    def hold(self, length: int) -> bool:
        """Keep only the first ``length`` tokens that were computed; False, with nothing kept, where that cannot be."""
        ...

    def extend(self, tokens: Sequence[int]) -> None:
        """Compute tokens of a prompt after what is held, ready for the first token of an answer."""
        ...

    def step(self, token: int) -> None:
        """Compute one token of an answer, ready for the next. A loop that chooses its tokens itself takes its own."""
        ...


@runtime_checkable
class LoopsRaw(Protocol):
    """A runtime whose own loop can be timed."""

    def raw_loop(self, capacity: int) -> RawLoop:
        """A loop that computes up to so many tokens, fewer than the context; what was held may be forgotten."""
        ...


@dataclass(frozen=True)
class MemoryParts:
    """Bytes by what they are for; None where the runtime does not tell, with the reason.

    Attributes:
        weights: of the model, as loaded.
        kv: of the key-value cache, as allocated.
        compute: buffers for intermediate results and logits.
        reasons: name of a part that is None, or not exactly that → why.
    """

    weights: int | None
    kv: int | None
    compute: int | None
    reasons: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class TellsMemory(Protocol):
    """A runtime that knows what its memory is for."""

    def memory_parts(self) -> MemoryParts: ...


@runtime_checkable
class SwitchesAdapters(Protocol):
    """A runtime that keeps several adapters on one base and changes between them without loading it again."""

    adapter: str | None
    """The one in use; None: the base alone."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of those loaded."""
        ...

    def add_adapter(self, name: str, artifact: Artifact) -> None:
        """Load an adapter; it is not in use yet.

        Raises:
            ArtifactError: it is damaged, or belongs to another base.
        """
        ...

    def use_adapter(self, name: str | None) -> None:
        """Go on with this adapter, or None: the base alone; what was computed with another is forgotten.

        Raises:
            ArtifactError: none of that name is loaded.
        """
        ...
