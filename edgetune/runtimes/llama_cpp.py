"""The llama.cpp runtime: runs a GGUF file through llama-cpp-python, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.runtimes.fitting import longest_answer, require_fit
from edgetune.runtimes.gguf_header import GgufHeader, check_file
from edgetune.runtimes.llama_adapters import SYSTEM_KEY, LlamaAdapter, load_adapter, require_model
from edgetune.runtimes.llama_batching import Work, answer_all, common_prefix
from edgetune.runtimes.llama_library import system_info, take_buffers
from edgetune.runtimes.llama_native import MICRO_BATCH, Batch, Context, ContextSize, Model, Threads
from edgetune.runtimes.llama_raw import LlamaLoop
from edgetune.runtimes.llama_tokenizer import LlamaTokenizer
from edgetune.runtimes.pairing import require_loaded
from edgetune.runtimes.protocol import Completion, Decoding, KvCache, MemoryParts
from edgetune.runtimes.sampling import Sampler
from edgetune.runtimes.threads import chosen_threads

#: Context unless asked otherwise: a model trained for 128k tokens would need gigabytes of cache.
DEFAULT_CONTEXT = 4096
#: Most memory for the cache while answering many prompts at once.
BATCH_CACHE_BYTES = 1_000_000_000


class LlamaCppRuntime:
    """Runs one GGUF artifact. Not thread-safe.

    Args:
        artifact: what to run.
        threads: default: the physical cores this process may use.
        context: longest prompt plus answer in tokens; default: the model's own, at most 4096.
        kv_cache: ``f32`` also computes attention exactly, for comparisons.
        prefill_threads: for prompts; default: as many as for single tokens.
        batch: most tokens computed in one go.

    Attributes:
        tokenizer: the one in the file.
        threads: in use for single tokens.
        prefill_threads: in use for prompts.
        batch: most tokens computed in one go.
        context_length: longest prompt plus answer, in tokens.
        adapters: names of those loaded, in the order they were added.
        adapter: the one in use; None: the base alone.

    Raises:
        ArtifactError: the file is damaged, is an adapter, or llama.cpp cannot load it.
        MissingExtra: llama-cpp-python is not installed.
    """

    name = "llama.cpp"

    def __init__(  # noqa: PLR0913  # what a runtime can be told
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        context: int | None = None,
        kv_cache: KvCache = "f16",
        prefill_threads: int | None = None,
        batch: int | None = None,
    ) -> None:
        header = check_file(artifact.main_file)
        require_model(artifact.main_file, header)
        self._file = artifact.main_file
        self._adapters: dict[str, LlamaAdapter] = {}
        self.adapter: str | None = None
        take_buffers()
        self._model = Model(artifact.main_file)
        self._weights = take_buffers()
        self.tokenizer = LlamaTokenizer(self._model)
        self.threads = chosen_threads(threads)
        self.prefill_threads = chosen_threads(prefill_threads or self.threads)
        self.batch = batch or MICRO_BATCH
        self._long_rope = _long_rope_from(header)
        default = min(self._model.trained_context, DEFAULT_CONTEXT, self._long_rope or DEFAULT_CONTEXT)
        self.context_length = context or default
        own = artifact.manifest.system if artifact.manifest else None
        self._system = own or self._model.metadata(SYSTEM_KEY)
        self._kv_cache: KvCache = kv_cache
        self._open: Context | None = None
        self._one = Batch(1)
        self._held: list[int] = []

    @property
    def system(self) -> str | None:
        """System prompt of the adapter in use, else of the model: from the manifest, or from the file."""
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
        loaded = load_adapter(self._model, self._file, artifact)
        self._close_context()  # llama.cpp sizes a context by the adapters that are loaded
        self._adapters[name] = loaded

    def use_adapter(self, name: str | None) -> None:
        """Go on with another adapter, or with the base alone; what was computed with the former is forgotten.

        Raises:
            ArtifactError: none of that name is loaded.
        """
        require_loaded(name, self.adapters)
        self.reset()
        self.adapter = name
        if self._open:
            self._open.use(self._handle)

    @property
    def features(self) -> str:
        """Processor features that llama.cpp was built for and found."""
        return system_info()

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Next-token logits at every position from ``start`` on: shape (len(tokens) - start, vocabulary).

        Before ``start`` no logits are computed, and what the last call computed of the same beginning is kept.

        Raises:
            DataError: more tokens than the context holds.
        """
        self._require_fit(tokens, room=0)
        context = self._single(outputs=MICRO_BATCH)
        if start == 0:
            self.reset()
        done = self._reusable(context, list(tokens[: start + 1]))
        result = np.empty((len(tokens) - start, self._model.vocabulary), np.float32)
        batch = Batch(MICRO_BATCH)
        while done < len(tokens):
            end = min(len(tokens), done + MICRO_BATCH)
            first = min(max(start, done), end)
            batch.clear()
            if done < first:
                batch.add(tokens[done:first], 0, done, "none")
            if first < end:
                batch.add(tokens[first:end], 0, first, "all")
            logits = context.decode(batch)
            if first < end:
                result[first - start : end - start] = logits
            self._held = list(tokens[:end])
            done = end
        return result

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield new tokens one by one, without the stop token.

        What the last call already computed of the same beginning is kept (:meth:`reset` drops it), so a
        conversation does not compute its past again.

        Raises:
            DataError: the prompt is as long as the context, or empty.
        """
        self._require_fit(prompt, room=1)
        sampler = Sampler(decoding)
        limit = longest_answer(prompt, decoding, self.context_length)
        tokens = list(prompt)
        for _ in range(limit):
            token = sampler.choose(self._next_logits(tokens))
            if self.tokenizer.is_stop(token) or token in decoding.extra_stop_ids:
                return
            tokens.append(token)
            yield token

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts side by side; the order is kept.

        Raises:
            DataError: a prompt is as long as the context, or empty.
        """
        if not prompts:
            return []
        for prompt in prompts:
            self._require_fit(prompt, room=1)
        limits = [longest_answer(prompt, decoding, self.context_length) for prompt in prompts]
        work = Work(prompts, limits)
        done: dict[int, Completion] = {}
        context = self._new_context(work.size(self._cells()))
        try:
            for index, tokens, stopped in answer_all(context, work, decoding, self.tokenizer.is_stop):
                text = self.tokenizer.decode(tokens)
                done[index] = Completion(tuple(tokens), text, "stop" if stopped else "length")
                if on_done:
                    on_done(len(done))
        finally:
            context.close()
        return [done[index] for index in range(len(prompts))]

    def reset(self) -> None:
        """Forget what was computed, so that the next prompt is computed whole."""
        if self._open:
            self._open.forget(0)
        self._held = []

    def close(self) -> None:
        """Free the model and its context."""
        self._close_context()
        self._model.close()

    def raw_loop(self, capacity: int) -> LlamaLoop:
        """llama.cpp's own loop, as llama-bench runs it; what was held is forgotten."""
        assert capacity <= self.context_length
        self._held = []
        return LlamaLoop(self._single(outputs=1))

    def memory_parts(self) -> MemoryParts:
        """What llama.cpp's log says of its buffers, once something was computed."""
        self._close_context()
        take_buffers()
        self._single(outputs=1)
        found = take_buffers()
        return MemoryParts(
            weights=sum(self._weights.values()),
            kv=sum(size for kind, size in found.items() if kind not in ("compute", "output")),
            compute=found.get("compute", 0) + found.get("output", 0),
        )

    @property
    def _handle(self) -> Any | None:
        return self._adapters[self.adapter].handle if self.adapter else None

    def _new_context(self, size: ContextSize) -> Context:
        context = Context(self._model, size, Threads(self.threads, self.prefill_threads), self._kv_cache)
        context.use(self._handle)
        return context

    def _close_context(self) -> None:
        if self._open:
            self._open.close()
            self._open = None
        self._held = []

    def _cells(self) -> int:
        """Cells for a batch: what fits the memory budget, at least one full context."""
        if self._long_rope:
            return self.context_length
        affordable = BATCH_CACHE_BYTES // max(1, self._model.cache_bytes(1, self._kv_cache))
        return max(self.context_length, affordable)

    def _single(self, outputs: int) -> Context:
        """The one-sequence context, made anew when more rows of logits are wanted than it can hold."""
        if self._open and self._open.size.outputs < outputs:
            self._close_context()
        if self._open is None:
            size = ContextSize(self.context_length, 1, max(MICRO_BATCH, self.batch), outputs, self.batch)
            self._open = self._new_context(size)
        return self._open

    def _next_logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Logits after the last of ``tokens``, shape (vocabulary,); what the cache already holds is not computed."""
        context = self._single(outputs=1)
        keep = self._reusable(context, tokens)
        new = len(tokens) - keep
        batch = self._one if new == 1 else Batch(min(context.size.batch, new))
        logits = np.empty((0, 0), np.float32)
        for start in range(keep, len(tokens), batch.capacity):
            part = tokens[start : start + batch.capacity]
            batch.clear()
            batch.add(part, 0, start, "last" if start + len(part) == len(tokens) else "none")
            logits = context.decode(batch)
            self._held = tokens[: start + len(part)]
        last: NDArray[np.float32] = logits[-1]
        return last

    def _reusable(self, context: Context, tokens: list[int]) -> int:
        """How many leading tokens the cache already holds; the rest of the cache is dropped."""
        held = self._held
        # The last token is always computed: its logits are what is asked for.
        keep = len(held) if held == tokens[: len(held)] else common_prefix([held, tokens])
        keep = min(keep, len(tokens) - 1)
        # A sliding window may have dropped what comes before; then the past cannot be cut back.
        gone = keep < len(held) and context.first_position(0) > 0
        # Also after a step that was interrupted, when the cache holds more than was noted.
        if gone or not context.forget(0, keep):
            keep = 0
            context.forget(0)
        self._held = held[:keep]
        return keep

    def _require_fit(self, tokens: Sequence[int], room: int) -> None:
        hint = "shorten the prompt, or open the model with a longer context"
        require_fit(tokens, self.context_length, room=room, hint=hint)


def _long_rope_from(header: GgufHeader) -> int | None:
    """The context beyond which LongRoPE's long factors are used, None for other models.

    llama.cpp looks at the size of the context, not at the length of a sequence: in a longer context every
    token gets the long factors. Up to this length the answers are those of transformers.
    """
    if not any("rope_factors_long" in tensor.name for tensor in header.tensors):
        return None
    key = f"{header.architecture}.rope.scaling.original_context_length"
    return int(header.metadata[key]) if key in header.metadata else None
