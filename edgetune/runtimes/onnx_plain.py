"""The plain onnxruntime runtime: the same folder as for onnxruntime-genai, the cache passed by hand.

What a graph takes and gives, for programs of one's own (B rows, T new tokens, P tokens before them, L layers)::

    input_ids                    (B, T)         int64
    attention_mask               (B, P + T)     int64, ones
    past_key_values.N.key/value  (B, K, P, W)   N < L, K key-value heads of width W; P = 0 at first
    position_ids                 (B, T)         int64, only where a graph has it (Optimum's)
    logits                       (B, T, vocabulary)
    present.N.key/value          (B, K, P + T, W): the past of the next call

A base with places for adapters also takes the tensors of an ``.onnx_adapter``, through ``RunOptions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import EdgetuneError
from edgetune.extras import require
from edgetune.runtimes.fitting import longest_answer, require_fit
from edgetune.runtimes.onnx_adapters import OnnxAdapter, fit_adapter
from edgetune.runtimes.onnx_folder import open_folder, require_own_cache, stored_parts
from edgetune.runtimes.onnx_raw import SessionLoop
from edgetune.runtimes.onnx_session import compute, open_session
from edgetune.runtimes.onnx_tokenizers import FastTokenizer
from edgetune.runtimes.pairing import require_loaded
from edgetune.runtimes.protocol import Completion, Decoding, KvCache, MemoryParts
from edgetune.runtimes.sampling import Sampler
from edgetune.runtimes.threads import chosen_threads

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxRuntime:
    """Runs one ONNX artifact, one sequence at a time. Not thread-safe. Arguments and errors: as in ``GenaiRuntime``."""

    name = "onnxruntime"

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        context: int | None = None,
        kv_cache: KvCache = "f16",
    ) -> None:
        require_own_cache(kv_cache, self.name)
        folder = open_folder(artifact)
        self.threads = chosen_threads(threads)
        self.context_length = context or folder.context_length
        self._artifact = artifact
        self._system = folder.system
        self._adapters: dict[str, tuple[OnnxAdapter, Any]] = {}
        self.adapter: str | None = None
        self.tokenizer = FastTokenizer(folder)
        self._path = folder.path
        self._folder = folder
        self._session: Any = open_session(folder.graph, self.threads, needed_for="running an ONNX folder")
        self._wants_positions = "position_ids" in {value.name for value in self._session.get_inputs()}
        self._past: dict[str, Any] = {}
        self._held: list[int] = []
        self._loop: SessionLoop | None = None

    @property
    def system(self) -> str | None:
        """System prompt of the adapter in use, else of the model."""
        return self._adapters[self.adapter][0].system if self.adapter else self._system

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names, in the order they were added."""
        return tuple(self._adapters)

    def add_adapter(self, name: str, artifact: Artifact) -> None:
        """Load an adapter beside the model; :meth:`use_adapter` puts it on. Errors: as in ``GenaiRuntime``."""
        fitting = fit_adapter(self._artifact, artifact)
        onnxruntime = require("onnxruntime", extra="onnx", needed_for="running an ONNX adapter")
        loaded = onnxruntime.LoraAdapter()
        loaded.Load(str(fitting.file))
        self._adapters[name] = fitting, loaded

    def use_adapter(self, name: str | None) -> None:
        """Go on with another adapter, or with the base alone; what was computed with the former is forgotten."""
        require_loaded(name, self.adapters)
        self.adapter = name
        self.reset()

    @property
    def features(self) -> str:
        """Nothing: ONNX Runtime does not say what it uses of the processor."""
        return ""

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Next-token logits at every position from ``start`` on: shape (len(tokens) - start, vocabulary)."""
        require_fit(tokens, self.context_length, room=0)
        self.reset()
        return self._feed(tokens)[start:]

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield new tokens one by one, without the stop token."""
        require_fit(prompt, self.context_length)
        yield from self._answer(prompt, decoding, Sampler(decoding))

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts, one after another."""
        for prompt in prompts:
            require_fit(prompt, self.context_length)
        done = []
        for row, prompt in enumerate(prompts):
            tokens = tuple(self._answer(prompt, decoding, Sampler(decoding, row)))
            full = len(tokens) == longest_answer(prompt, decoding, self.context_length)
            done.append(Completion(tokens, self.tokenizer.decode(tokens), "length" if full else "stop"))
            if on_done:
                on_done(len(done))
        return done

    def reset(self) -> None:
        """Forget what was computed."""
        self._past = {}
        self._held = []
        self._loop = None

    def close(self) -> None:
        """Free the model."""
        self.reset()
        self._session = None

    def raw_loop(self, capacity: int) -> SessionLoop:
        """Onnxruntime's own loop over the session, the cache never leaving its memory; what was held is forgotten."""
        del capacity  # the cache grows with every token
        self.reset()
        self._loop = SessionLoop(self._session, self._options(), _empty_past(self._session))
        return self._loop

    def memory_parts(self) -> MemoryParts:
        """What follows from the files and the tokens held."""
        past = next(iter(_empty_past(self._session).values()), np.zeros(0, np.float32))
        held = self._loop.length if self._loop else len(self._held)
        return stored_parts(self._folder, held, past.itemsize)

    def _answer(self, prompt: Sequence[int], decoding: Decoding, sampler: Sampler) -> Iterator[int]:
        tokens = list(prompt)
        for _ in range(longest_answer(prompt, decoding, self.context_length)):
            token = sampler.choose(self._next_logits(tokens))
            if token in self.tokenizer.stop_ids or token in decoding.extra_stop_ids:
                return
            tokens.append(token)
            yield token

    def _next_logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Logits after the last of ``tokens``, computing those that are not held: somebody may have asked meanwhile."""
        held = self._held
        if not (held and len(held) < len(tokens) and tokens[: len(held)] == held):
            self.reset()
        logits: NDArray[np.float32] = self._feed(tokens[len(self._held) :])[-1]
        return logits

    def _feed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens to what is held; logits after each of them: (len(tokens), vocabulary)."""
        length = len(self._held) + len(tokens)
        feed = {
            "input_ids": np.asarray([tokens], np.int64),
            "attention_mask": np.ones((1, length), np.int64),
            **(self._past or _empty_past(self._session)),
        }
        if self._wants_positions:
            feed["position_ids"] = np.arange(len(self._held), length, dtype=np.int64)[None]
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._run(names, feed), strict=True))
        self._past = {
            name.replace("present", "past_key_values"): value
            for name, value in found.items()
            if name.startswith("present")
        }
        self._held = [*self._held, *tokens]
        logits: NDArray[np.float32] = found["logits"][0].astype(np.float32, copy=False)
        return logits

    def _options(self) -> Any | None:
        """Options of a run: the adapter in use."""
        if self.adapter is None:
            return None
        onnxruntime = require("onnxruntime", extra="onnx", needed_for="running an ONNX adapter")
        options = onnxruntime.RunOptions()
        options.add_active_adapter(self._adapters[self.adapter][1])
        return options

    def _run(self, names: Sequence[str], feed: Mapping[str, Any]) -> list[Any]:
        try:
            return compute(self._session, names, feed, self._path, self._options())
        except EdgetuneError:
            self.reset()
            raise


def _empty_past(session: Any) -> dict[str, NDArray[Any]]:
    """A cache that holds no tokens."""
    return {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), _FLOATS[value.type])
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
