"""The vocabulary and the chat template inside a GGUF file, used through llama.cpp's own tokeniser."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes.llama_library import library
from edgetune.runtimes.llama_native import Model
from edgetune.runtimes.protocol import Message
from edgetune.runtimes.template import render

_SENTENCEPIECE = 1  # LLAMA_VOCAB_TYPE_SPM


class LlamaTokenizer:
    """Text in, token ids out, as llama.cpp does it."""

    def __init__(self, model: Model) -> None:
        self._lib = library()
        self._model = model
        self._pieces: dict[int, bytes] = {}

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Every token that llama.cpp takes for an end of generation."""
        return frozenset(token for token in range(self._model.vocabulary) if self.is_stop(token))

    @property
    def beginning(self) -> tuple[int, ...]:
        """BOS, where the file says that texts begin with it."""
        bos = int(self._lib.llama_vocab_bos(self._model.vocab))
        return (bos,) if bos >= 0 and self._lib.llama_vocab_get_add_bos(self._model.vocab) else ()

    def is_stop(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(self._lib.llama_vocab_is_eog(self._model.vocab, token))

    @cached_property
    def chat_template(self) -> str:
        """The Jinja source that travels in the file.

        Raises:
            ArtifactError: the file has none.
        """
        source = self._model.metadata("tokenizer.chat_template")
        if not source:
            raise ArtifactError(
                "the model file has no chat template", hint="export it again with model.chat_template set in the recipe"
            )
        return source

    @cached_property
    def special_tokens(self) -> Mapping[str, str]:
        """``bos_token`` and the like → text, for the template; only those the vocabulary has."""
        lib, vocab = self._lib, self._model.vocab
        ids = {
            "bos_token": lib.llama_vocab_bos(vocab),
            "eos_token": lib.llama_vocab_eos(vocab),
            "pad_token": lib.llama_vocab_pad(vocab),
            "sep_token": lib.llama_vocab_sep(vocab),
            "unk_token": int(self._model.metadata("tokenizer.ggml.unknown_token_id") or -1),
        }
        return {name: self._text(token) for name, token in ids.items() if token >= 0}

    def _text(self, token: int) -> str:
        text: bytes = self._lib.llama_vocab_get_text(self._model.vocab, token)
        return text.decode("utf-8", errors="replace")

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        fixed_date: bool = False,
    ) -> str:
        """Apply the chat template."""
        return render(
            self.chat_template,
            messages,
            self.special_tokens,
            fixed_date=fixed_date,
            add_generation_prompt=add_generation_prompt,
            tools=list(tools) if tools else None,
        )

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of ``text``, without a BOS that the text does not name."""
        raw = text.encode("utf-8", errors="replace")
        room = len(raw) + 16
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = self._lib.llama_tokenize(self._model.vocab, raw, len(raw), buffer, room, False, special)
            if count >= 0:
                return list(buffer[:count])
            if -count <= room:  # INT32_MIN: more tokens than 32 bits count
                raise DataError(f"a text of {len(raw)} bytes is too long for the tokeniser", hint="split it")
            room = -count

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, control tokens left out. Bytes that are not UTF-8 (yet) become U+FFFD."""
        raw = b"".join(self._piece(token) for token in tokens)
        if self._writes_leading_space and raw.startswith(b" "):
            raw = raw[1:]
        return raw.decode("utf-8", errors="replace")

    @cached_property
    def _writes_leading_space(self) -> bool:
        """Whether the tokeniser puts a space before text, which decoding must take off again."""
        stated = self._model.metadata("tokenizer.ggml.add_space_prefix")
        if stated is None:
            return bool(self._lib.llama_vocab_type(self._model.vocab) == _SENTENCEPIECE)
        return stated == "true"

    def _piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def _read_piece(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._lib.llama_token_to_piece(self._model.vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length
