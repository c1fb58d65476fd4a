"""llama.cpp's own tokenizer, loaded from a file's vocabulary alone, compared with the original's ids."""

from __future__ import annotations

import ctypes
import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import extras
from edgetune.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Mismatch:
    """A text that llama.cpp tokenises in another way.

    Attributes:
        text: the text.
        expected: ids of the original tokenizer.
        got: ids of llama.cpp.
    """

    text: str
    expected: tuple[int, ...]
    got: tuple[int, ...]

    def __str__(self) -> str:
        """The first place where the two part."""
        pairs = zip(self.expected, self.got, strict=False)
        at = next(
            (i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(self.expected), len(self.got))
        )
        show = [f"{list(ids[at : at + 4])}" for ids in (self.expected, self.got)]
        return f"{_shorten(self.text)!r}: from token {at} on {show[0]} expected, {show[1]} by llama.cpp"


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


class LlamaVocabulary:
    """The vocabulary of a GGUF file as libllama reads it."""

    def __init__(self, library: Any, model: Any) -> None:
        self._library = library
        self._vocabulary = library.llama_model_get_vocab(model)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids, special tokens in the text parsed, nothing added."""
        raw = text.encode()
        room = len(raw) + 16
        ids = (self._library.llama_token * room)()
        count = self._library.llama_tokenize(self._vocabulary, raw, len(raw), ids, room, False, True)
        if count < 0:
            raise ExportError(f"llama.cpp cannot tokenise {_shorten(text)!r}", hint="report this text as a fault")
        return tuple(ids[:count])

    def ends_generation(self, token: int) -> bool:
        """Whether llama.cpp stops at this token."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))


@contextmanager
def open_vocabulary(path: Path, overrides: Mapping[str, str | bool] | None = None) -> Iterator[LlamaVocabulary | None]:
    """Load only the vocabulary of a GGUF file; None where libllama refuses it (an unknown ``pre``, say).

    Args:
        path: the file.
        overrides: metadata keys to read as if the file said so.
    """
    library = extras.require("llama_cpp", extra="gguf", needed_for="checking a vocabulary")
    library.llama_backend_init()
    parameters = library.llama_model_default_params()
    parameters.vocab_only = True
    array = _override_array(library, overrides or {})
    parameters.kv_overrides = array
    with _silent():
        model = library.llama_model_load_from_file(str(path).encode(), parameters)
        if not model:
            yield None
            return
        try:
            yield LlamaVocabulary(library, model)
        finally:
            library.llama_model_free(model)


def compare(
    vocabulary: LlamaVocabulary, expected: Sequence[tuple[str, tuple[int, ...]]], *, composed: bool
) -> list[Mismatch]:
    """Every text that libllama tokenises in another way.

    Args:
        vocabulary: the loaded vocabulary.
        expected: texts with the ids of the original tokenizer.
        composed: give libllama NFC text, where the original composes by itself.
    """
    found = []
    for text, ids in expected:
        got = vocabulary.encode(unicodedata.normalize("NFC", text) if composed else text)
        if got != ids:
            found.append(Mismatch(text, ids, got))
    return found


def expected_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """The texts with their ids by the original tokenizer."""
    ids = tokenizer(list(texts), add_special_tokens=False, truncation=False, padding=False)["input_ids"]
    return [(text, tuple(found)) for text, found in zip(texts, ids, strict=True)]


def _override_array(library: Any, overrides: Mapping[str, str | bool]) -> Any:
    array = (library.llama_model_kv_override * (len(overrides) + 1))()  # the last one stays empty: the end mark
    for entry, (key, value) in zip(array, overrides.items(), strict=False):
        entry.key = key.encode()
        if isinstance(value, bool):
            entry.tag, entry.value.val_bool = library.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
        else:
            entry.tag = library.LLAMA_KV_OVERRIDE_TYPE_STR
            raw = value.encode()[:127]  # the field holds 128 bytes, the last one zero
            ctypes.memmove(ctypes.addressof(entry.value), raw, len(raw))
    return array


@contextmanager
def _silent() -> Iterator[None]:
    """Keep libllama's log off the screen: what matters is reported by the caller."""
    logger = logging.getLogger("llama-cpp-python")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
