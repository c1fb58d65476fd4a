"""The onnxruntime-genai runtime: runs an ONNX folder, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.extras import require
from edgetune.memory import memory_errors
from edgetune.runtimes.fitting import longest_answer, require_fit
from edgetune.runtimes.llama_batching import common_prefix
from edgetune.runtimes.onnx_adapters import OnnxAdapter, fit_adapter
from edgetune.runtimes.onnx_folder import open_folder, require_own_cache, stored_parts
from edgetune.runtimes.onnx_raw import GenaiLoop
from edgetune.runtimes.onnx_tokenizers import GenaiTokenizer
from edgetune.runtimes.pairing import require_loaded
from edgetune.runtimes.protocol import Completion, Decoding, KvCache, MemoryParts
from edgetune.runtimes.sampling import Sampler
from edgetune.runtimes.threads import chosen_threads

#: Tokens computed at once: their logits are held for the whole vocabulary.
CHUNK = 256
#: Prompts of one length that are answered side by side; more gained nothing on two cores.
BATCH_ROWS = 8
#: The cache is allocated for a whole answer; its smallest size, in tokens.
SMALLEST_CACHE = 256


class GenaiRuntime:
    """Runs one ONNX artifact, and adapters on it. Not thread-safe.

    Args:
        artifact: what to run.
        threads: default: the physical cores this process may use.
        context: longest prompt plus answer in tokens; default: the model's own, at most 4096.
        kv_cache: the graph says what its cache is of; taken so that all runtimes are opened alike.

    Attributes:
        adapter: the one in use; None: the base alone.

    Raises:
        ArtifactError: a file is missing or damaged, or onnxruntime-genai cannot load it.
        MissingExtra: onnxruntime-genai is not installed.
    """

    name = "onnxruntime-genai"

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        context: int | None = None,
        kv_cache: KvCache = "f16",
    ) -> None:
        require_own_cache(kv_cache, self.name)
        self._genai: Any = require("onnxruntime_genai", extra="onnx", needed_for="running an ONNX folder")
        folder = open_folder(artifact)
        self._path = folder.path
        self._folder = folder
        self.threads = chosen_threads(threads)
        self.context_length = context or folder.context_length
        self._artifact = artifact
        self._system = folder.system
        self._adapters: dict[str, OnnxAdapter] = {}
        self._loaded: Any = None
        self.adapter: str | None = None
        settings = {"model": {"decoder": {"session_options": {"intra_op_num_threads": self.threads}}}}
        try:
            config = self._genai.Config(str(folder.path))
            config.overlay(json.dumps(settings))
            with memory_errors():
                self._model: Any = self._genai.Model(config)
            self.tokenizer = GenaiTokenizer(self._genai.Tokenizer(self._model), folder)
        except RuntimeError as error:
            raise ArtifactError(
                f"onnxruntime-genai cannot load {folder.path}: {str(error).splitlines()[0]}",
                hint="export it again, or copy it again",
            ) from error
        self._generator: Any = None
        self._raw: tuple[int, Any] = (0, None)  # its room, and a generator of the raw loop's own
        self._capacity = 0
        self._held: list[int] = []
        self._chosen = False  # the generator has one token more than is held: chosen, and not computed yet

    @property
    def system(self) -> str | None:
        """System prompt of the adapter in use, else of the model."""
        return self._adapters[self.adapter].system if self.adapter else self._system

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names, in the order they were added."""
        return tuple(self._adapters)

    def add_adapter(self, name: str, artifact: Artifact) -> None:
        """Load an adapter beside the model; :meth:`use_adapter` puts it on.

        Raises:
            ArtifactError: it is damaged, or belongs to another base.
        """
        fitting = fit_adapter(self._artifact, artifact)
        self._loaded = self._loaded or self._genai.Adapters(self._model)
        try:
            with memory_errors():
                self._loaded.load(str(fitting.file), name)
        except RuntimeError as error:
            raise ArtifactError(
                f"onnxruntime-genai cannot load {fitting.file}: {str(error).splitlines()[0]}", hint="export it again"
            ) from error
        self._adapters[name] = fitting

    def use_adapter(self, name: str | None) -> None:
        """Go on with another adapter, or with the base alone; what was computed with the former is forgotten.

        Raises:
            ArtifactError: none of that name is loaded.
        """
        require_loaded(name, self.adapters)
        self.adapter = name
        self._generator, self._held, self._chosen = None, [], False  # a generator keeps its adapter
        self._raw = (0, None)

    @property
    def features(self) -> str:
        """Nothing: ONNX Runtime does not say what it uses of the processor."""
        return ""

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Next-token logits at every position from ``start`` on: shape (len(tokens) - start, vocabulary).

        What the last call computed of the same beginning is kept, up to ``start``.

        Raises:
            DataError: more tokens than the context holds.
        """
        require_fit(tokens, self.context_length, room=0)
        if start == 0:
            self.reset()
        parts = list(self._advance(list(tokens), start))
        return np.concatenate(parts)[-(len(tokens) - start) :]

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield new tokens one by one, without the stop token.

        Raises:
            DataError: the prompt is as long as the context, or empty.
        """
        require_fit(prompt, self.context_length)
        limit = longest_answer(prompt, decoding, self.context_length)
        tokens = (
            self._likeliest(prompt, limit)
            if decoding.temperature <= 0
            else self._drawn(prompt, limit, Sampler(decoding))
        )
        for token in islice(tokens, limit):
            if self._ends(token, decoding):
                return
            yield token

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts; greedy ones of equal length side by side. The order is kept.

        Raises:
            DataError: a prompt is as long as the context, or empty.
        """
        for prompt in prompts:
            require_fit(prompt, self.context_length)
        done: dict[int, Completion] = {}
        for rows in _groups(prompts, BATCH_ROWS if decoding.temperature <= 0 else 1):
            chosen = [prompts[row] for row in rows]
            answers = (
                self._greedy(chosen, decoding) if decoding.temperature <= 0 else self._sampled(prompts, rows, decoding)
            )
            for row, answer in zip(rows, answers, strict=True):
                done[row] = answer
                if on_done:
                    on_done(len(done))
        return [done[row] for row in range(len(prompts))]

    def reset(self) -> None:
        """Forget what was computed, so that the next prompt is computed whole."""
        if self._generator is not None and self._held:
            self._generator.rewind_to(0)
        self._held, self._chosen = [], False

    def close(self) -> None:
        """Free the model."""
        self._generator = None
        self._raw = (0, None)
        self._loaded = None
        self._model = None

    def raw_loop(self, capacity: int) -> GenaiLoop:
        """onnxruntime-genai's own loop, which chooses its tokens itself, with a cache of its own; it ends the former.

        The generator is kept as the one that answers is: the memory of a new cache is touched for the first time while
        a prompt is computed, which would be in its time.
        """
        room, generator = self._raw
        if capacity >= room:  # one more: the token that it chooses after the last one that it computes
            room = max(min(max(SMALLEST_CACHE, 1 << capacity.bit_length()), self.context_length), capacity + 1)
            # Without a shortest length it would refuse to go on after a stop token.
            generator = self._make(room, 1, min_length=room)
            self._raw = (room, generator)
        generator.rewind_to(0)
        return GenaiLoop(generator)

    def memory_parts(self) -> MemoryParts:
        """What follows from the files and the size of the cache."""
        manifest = self._artifact.manifest
        half = manifest is not None and manifest.precision.startswith("fp16")
        return stored_parts(self._folder, self._capacity or self._raw[0], 2 if half else 4)

    def _likeliest(self, prompt: Sequence[int], limit: int) -> Iterator[int]:
        """The likeliest token again and again, chosen by onnxruntime-genai itself: no logits are copied."""
        tokens, ours = list(prompt), None
        while True:
            if ours is None or self._held is not ours:  # somebody may have asked something else meanwhile
                self._reserve(len(prompt) + limit)
                for _ in self._compute(tokens, len(tokens) - 1):
                    pass
            elif self._generator.is_done():
                return
            with self._computing():
                self._generator.generate_next_token()
            ours = self._held = list(tokens)
            self._chosen = True
            tokens.append(int(self._generator.get_next_tokens()[0]))
            yield tokens[-1]

    def _drawn(self, prompt: Sequence[int], limit: int, sampler: Sampler) -> Iterator[int]:
        tokens = list(prompt)
        self._reserve(len(prompt) + limit)
        while True:
            *_, last = self._advance(tokens, len(tokens) - 1)
            tokens.append(sampler.choose(last[-1]))
            yield tokens[-1]

    def _advance(self, tokens: list[int], start: int) -> Iterator[NDArray[np.float32]]:
        """Compute what of ``tokens`` is not held yet, from ``start`` at the latest; logits, part by part."""
        for _ in self._compute(tokens, start):
            logits: NDArray[np.float32] = self._generator.get_output("logits")[0].astype(np.float32, copy=False)
            yield logits

    def _compute(self, tokens: list[int], start: int) -> Iterator[None]:
        """Compute what of ``tokens`` is not held yet, from ``start`` at the latest; yields after each part."""
        self._reserve(len(tokens))
        keep = min(common_prefix([self._held, tokens]), start, len(tokens) - 1)
        if keep < len(self._held) or self._chosen:
            self._held, self._chosen = self._held[:keep], False
            self._generator.rewind_to(keep)
        for first in range(keep, len(tokens), CHUNK):
            part = tokens[first : first + CHUNK]
            with self._computing():
                self._generator.append_tokens(np.asarray(part, np.int32))
            self._held = tokens[: first + len(part)]
            yield

    def _reserve(self, length: int) -> None:
        """A generator whose cache holds ``length`` tokens; a new one computes everything again."""
        if self._generator is not None and length <= self._capacity:
            return
        self._capacity = min(max(SMALLEST_CACHE, 1 << (length - 1).bit_length()), self.context_length)
        self._generator = self._make(self._capacity, 1)
        self._held, self._chosen = [], False

    def _make(self, length: int, rows: int, **search: Any) -> Any:
        settings = self._genai.GeneratorParams(self._model)
        settings.set_search_options(
            max_length=length, batch_size=rows, do_sample=False, repetition_penalty=1.0, **search
        )
        generator = self._genai.Generator(self._model, settings)
        if self.adapter:
            generator.set_active_adapter(self._loaded, self.adapter)
        return generator

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Around a step of the graph: what onnxruntime finds wrong with it is the artifact's fault."""
        try:
            with memory_errors():
                yield
        except RuntimeError as error:
            self._generator, self._held, self._chosen = None, [], False
            raise ArtifactError(
                f"onnxruntime-genai cannot run {self._path}: {str(error).splitlines()[0]}", hint="export it again"
            ) from error

    def _greedy(self, prompts: Sequence[Sequence[int]], decoding: Decoding) -> Iterator[Completion]:
        """Answer prompts of equal length, by onnxruntime-genai's own loop."""
        length = len(prompts[0])
        limit = longest_answer(prompts[0], decoding, self.context_length)
        generator = self._make(length + limit, len(prompts))
        with self._computing():
            generator.append_tokens(np.asarray(prompts, np.int32).reshape(len(prompts), length))
            while not generator.is_done():
                generator.generate_next_token()
        for row in range(len(prompts)):
            tokens = [int(token) for token in generator.get_sequence(row)[length:]]
            # The loop ends before its limit at a stop token only, and keeps that to itself.
            yield self._completion(tokens, decoding, stopped=len(tokens) < limit)

    def _sampled(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[int], decoding: Decoding
    ) -> Iterator[Completion]:
        """Answer prompts one by one; each has its own random stream."""
        for row in rows:
            sampler = Sampler(decoding, row)
            tokens = list(prompts[row])
            limit = longest_answer(tokens, decoding, self.context_length)
            self._reserve(len(tokens) + limit)
            found: list[int] = []
            while len(found) < limit and not (found and self._ends(found[-1], decoding)):
                *_, last = self._advance([*tokens, *found], len(tokens) + len(found) - 1)
                found.append(sampler.choose(last[-1]))
            yield self._completion(found, decoding)

    def _completion(self, tokens: Sequence[int], decoding: Decoding, *, stopped: bool = False) -> Completion:
        """An answer up to its first stop token."""
        end = next((at for at, token in enumerate(tokens) if self._ends(token, decoding)), None)
        own = tuple(tokens[:end])
        return Completion(own, self.tokenizer.decode(own), "stop" if stopped or end is not None else "length")

    def _ends(self, token: int, decoding: Decoding) -> bool:
        return token in self.tokenizer.stop_ids or token in decoding.extra_stop_ids


def _groups(prompts: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Indexes of prompts of equal length, at most so many in a group."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for _, equal in groupby(order, key=lambda row: len(prompts[row])):
        rows = list(equal)
        yield from (rows[at : at + most] for at in range(0, len(rows), most))
