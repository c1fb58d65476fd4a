"""llama.cpp's C interface as three small objects: a loaded model, a context, a batch.

llama-cpp-python's high-level class decodes one sequence at a time and writes to stderr; its
``llama_cpp.llama_*`` functions (ctypes over ``llama.h``) do all that is needed here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ArtifactError, EdgetuneError, ResourceError
from edgetune.runtimes.llama_library import all_words, broken_amx, forget_words, last_words, library
from edgetune.runtimes.protocol import KvCache

#: Tokens computed in one go; llama.cpp's own default for n_ubatch.
MICRO_BATCH = 512
#: ggml_type of the cache types that are offered, and bytes of 32 values of each.
_GGML_TYPES: dict[KvCache, int] = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
_BLOCK_BYTES: dict[KvCache, int] = {"f32": 128, "f16": 64, "q4_0": 18, "q4_1": 20, "q5_0": 22, "q5_1": 24, "q8_0": 34}
_FLASH_ATTENTION_OFF = 0


class Model:
    """A GGUF file loaded with mmap.

    Raises:
        ArtifactError: llama.cpp cannot load it; its own words are in ``problems``.
    """

    def __init__(self, path: Path) -> None:
        self._lib = library()
        parameters = self._lib.llama_model_default_params()
        parameters.use_extra_bufts = not broken_amx()
        forget_words()
        self.handle = self._lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.handle:
            raise ArtifactError(
                f"llama.cpp cannot load {path}",
                hint="edgetune doctor shows the installed llama-cpp-python; a newer one may know this model",
                problems=all_words(),
            )
        self.vocab = self._lib.llama_model_get_vocab(self.handle)
        self.vocabulary = int(self._lib.llama_vocab_n_tokens(self.vocab))
        self.trained_context = int(self._lib.llama_model_n_ctx_train(self.handle))

    def cache_bytes(self, cells: int, kv_cache: KvCache) -> int:
        """Memory of the key-value cache for ``cells`` tokens (head size taken as width / heads)."""
        heads = max(1, self._lib.llama_model_n_head(self.handle))
        width = self._lib.llama_model_n_embd(self.handle) // heads * self._lib.llama_model_n_head_kv(self.handle)
        return 2 * int(self._lib.llama_model_n_layer(self.handle)) * int(width) * _BLOCK_BYTES[kv_cache] * cells // 32

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, or None."""
        size = 1024
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, size)
            if length < size:
                return buffer.raw[:length].decode("utf-8", errors="replace") if length >= 0 else None
            size = length + 1

    def load_adapter(self, path: Path) -> Any:
        """Load a GGUF LoRA beside the weights, once for all contexts; it is freed with the model.

        Returns:
            A handle for :meth:`Context.use`.

        Raises:
            ArtifactError: llama.cpp cannot put it on this model; its own words are in ``problems``.
        """
        forget_words()
        handle = self._lib.llama_adapter_lora_init(self.handle, str(path).encode())
        if not handle:
            raise ArtifactError(
                f"llama.cpp cannot put the adapter {path} on this model: {last_words()}",
                hint="give the base that the adapter was trained on",
                problems=all_words(),
            )
        return handle

    def close(self) -> None:
        """Free the weights, and the adapters with them."""
        if self.handle:
            self._lib.llama_model_free(self.handle)
            self.handle = None


@dataclass(frozen=True)
class ContextSize:
    """How large a context is.

    Attributes:
        cells: tokens the key-value cache holds, over all sequences.
        sequences: independent sequences.
        batch: most tokens in one :meth:`Context.decode`.
        outputs: most rows of logits in one :meth:`Context.decode`, at least ``sequences``; llama.cpp ends the
            process when there are more. Each costs 4 bytes a vocabulary entry.
        micro_batch: most tokens that are computed in one go.
    """

    cells: int
    sequences: int
    batch: int
    outputs: int
    micro_batch: int = MICRO_BATCH


@dataclass(frozen=True)
class Threads:
    """How many threads compute single tokens, and how many compute prompts."""

    decode: int
    prefill: int


class Context:
    """Key-value cache and compute buffers on top of a :class:`Model`.

    Sequences share one cache (``kv_unified``), so a prefix decoded once can be lent to all of them.

    Raises:
        ResourceError: there is not enough memory.
    """

    def __init__(self, model: Model, size: ContextSize, threads: Threads, kv_cache: KvCache) -> None:
        self._lib = library()
        self._model = model
        self.size = size
        parameters = self._lib.llama_context_default_params()
        parameters.n_ctx, parameters.n_seq_max = size.cells, size.sequences
        parameters.n_batch, parameters.n_ubatch = size.batch, min(size.batch, size.micro_batch)
        parameters.n_outputs_max = size.outputs
        parameters.n_threads, parameters.n_threads_batch = threads.decode, threads.prefill
        parameters.type_k = parameters.type_v = _GGML_TYPES[kv_cache]
        parameters.kv_unified = True
        if kv_cache == "f32":  # the exact path: flash attention sums in half precision
            parameters.flash_attn_type = _FLASH_ATTENTION_OFF
        forget_words()
        self.handle = self._lib.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            megabytes = model.cache_bytes(size.cells, kv_cache) / 1e6
            raise ResourceError(
                f"llama.cpp cannot make a context of {size.cells} tokens (cache: {megabytes:.0f} MB)",
                hint="use a smaller context"
                if kv_cache in ("f16", "f32")
                else "use a smaller context, or a cache of f16",
                problems=all_words(),
            )
        self._memory = self._lib.llama_get_memory(self.handle)
        self._place = (0, 0)
        self._view = np.empty((0, model.vocabulary), np.float32)

    def use(self, adapter: Any | None) -> None:
        """Put one adapter on the model for what this context computes from now on; None: the base alone.

        What was computed before stays in the cache: the caller has to :meth:`forget` it.
        """
        handles = (self._lib.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(1.0)
        self._lib.llama_set_adapters_lora(self.handle, handles, 0 if adapter is None else 1, scales)

    def decode(self, batch: Batch) -> NDArray[np.float32]:
        """Compute a batch.

        Returns:
            Logits of the tokens that asked for them, in batch order: shape (wanted, vocabulary). A view into
            llama.cpp's buffer that the next call overwrites.

        Raises:
            EdgetuneError: llama.cpp failed; the message carries its own words.
        """
        self.compute(batch)
        if not batch.wanted:
            return np.empty((0, self._model.vocabulary), np.float32)
        pointer = self._lib.llama_get_logits(self.handle)
        place = (ctypes.addressof(pointer.contents), batch.wanted)
        if place != self._place:  # making the view costs more than choosing a token
            self._place = place
            self._view = np.ctypeslib.as_array(pointer, shape=(batch.wanted, self._model.vocabulary))
        return self._view

    def compute(self, batch: Batch) -> None:
        """Compute a batch, and leave its logits where llama.cpp keeps them.

        Raises:
            EdgetuneError: llama.cpp failed; the message carries its own words.
        """
        assert batch.wanted <= self.size.outputs
        forget_words()
        status = self._lib.llama_decode(self.handle, batch.native)
        if status != 0:
            reason = "the context is full" if status == 1 else last_words()
            raise EdgetuneError(
                f"llama.cpp cannot compute {batch.count} tokens (status {status}): {reason}",
                hint="use a longer context or a shorter prompt",
            )
        self._lib.llama_synchronize(self.handle)

    def lend(self, source: int, target: int) -> None:
        """Let sequence ``target`` begin with all that ``source`` holds, without computing it again."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int, start: int = 0) -> bool:
        """Drop a sequence from position ``start``; False where the model cannot drop only a part (recurrent ones)."""
        return bool(self._lib.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def first_position(self, sequence: int) -> int:
        """Oldest position still in the cache, -1 for an empty sequence; above 0 with a sliding window."""
        return int(self._lib.llama_memory_seq_pos_min(self._memory, sequence))

    def close(self) -> None:
        """Free cache and buffers."""
        if self.handle:
            self._lib.llama_free(self.handle)
            self.handle = None


class Batch:
    """Tokens for one :meth:`Context.decode`, held in numpy arrays that llama.cpp reads in place."""

    def __init__(self, capacity: int) -> None:
        lib = library()
        self.capacity = capacity
        self.count = 0
        self.wanted = 0
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequence_counts = np.ones(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        # seq_id is an array of pointers, one a token; each points at its entry of _sequences.
        self._pointers = (self._sequences.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        integers = ctypes.POINTER(ctypes.c_int32)
        self.native = lib.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(integers),
            embd=None,
            pos=self._positions.ctypes.data_as(integers),
            n_seq_id=self._sequence_counts.ctypes.data_as(integers),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(integers)),
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        """Empty it for the next step."""
        self.count = self.wanted = self.native.n_tokens = 0

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.capacity - self.count

    def add(self, tokens: Sequence[int], sequence: int, start: int, outputs: Literal["last", "all", "none"]) -> None:
        """Append tokens of one sequence at positions ``start``, ``start + 1`` and so on."""
        end = self.count + len(tokens)
        part = slice(self.count, end)
        self._tokens[part] = tokens
        self._positions[part] = np.arange(start, start + len(tokens))
        self._sequences[part] = sequence
        self._outputs[part] = outputs == "all"
        self._outputs[end - 1] = outputs != "none"
        self.wanted += {"last": 1, "all": len(tokens), "none": 0}[outputs]
        self.count = self.native.n_tokens = end
