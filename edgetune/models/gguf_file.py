"""A GGUF file's header, read in one pass and checked against the file's size before any data is touched.

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. The ``gguf`` package's reader makes several
numpy arrays for every vocabulary entry (seconds on a real model); this one takes tenths of a second.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune import extras
from edgetune.errors import ModelError

#: Scalar value types of the format: type id → struct code.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """Where one tensor lies and how it is stored.

    Attributes:
        name: as llama.cpp calls it: ``blk.0.attn_q.weight``.
        type_name: ``F32``, ``Q4_1``, ….
        shape: rows first (the file lists dimensions fastest first).
        offset: of its first byte, from the start of the file.
        nbytes: bytes it occupies.
    """

    name: str
    type_name: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class GgufFile:
    """A parsed header.

    Attributes:
        path: the file.
        metadata: every key with its value; arrays are lists.
        tensors: by name, in file order.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """``llama``, ``qwen2``, …: also the prefix of the architecture's own keys."""
        return str(self.metadata["general.architecture"])

    def setting(self, key: str, default: Any = None) -> Any:
        """A key of the architecture: ``setting("block_count")`` is ``llama.block_count``."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def values(self, name: str) -> NDArray[np.float32]:
        """A tensor dequantised: float32, rows first. Only its own bytes are read."""
        gguf = extras.require("gguf", extra="gguf", needed_for="a GGUF base model")
        tensor = self.tensors[name]
        kind = gguf.GGMLQuantizationType[tensor.type_name]
        raw = np.fromfile(self.path, dtype=np.uint8, count=tensor.nbytes, offset=tensor.offset)
        plain = {"F32": "<f4", "F16": "<f2"}.get(tensor.type_name)
        if plain is not None:
            return raw.view(plain).astype(np.float32, copy=False).reshape(tensor.shape)
        rows = raw.reshape(*tensor.shape[:-1], -1)
        restored: NDArray[np.float32] = gguf.quants.dequantize(rows, kind).reshape(tensor.shape)
        return restored


def read_gguf(path: Path) -> GgufFile:
    """Parse a GGUF header.

    Raises:
        ModelError: not a GGUF file, another version, damaged, or shorter than its header promises.
        MissingExtra: the ``gguf`` package, which knows the block sizes, is not installed.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(4)
        if start != b"GGUF" or size < 24:
            raise ModelError(
                f"{path} is not a GGUF file: it starts with {start!r}, {size} bytes", hint="download it again"
            )
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as blob:
            try:
                parsed = _parse(path, blob)
            except (struct.error, IndexError, MemoryError, OverflowError) as error:
                raise _truncated(path, f"its header ends after {size} bytes") from error
            except (UnicodeDecodeError, KeyError, ValueError) as error:
                raise ModelError(f"{path} is damaged: {error}", hint="download or copy it again") from error
    end = max((tensor.offset + tensor.nbytes for tensor in parsed.tensors.values()), default=0)
    if end > size:
        last = max(parsed.tensors.values(), key=lambda tensor: tensor.offset)
        raise _truncated(path, f"{size} bytes where its header promises {end} (up to tensor {last.name})")
    return parsed


def _truncated(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is truncated: {why}", hint="download or copy it again")


class _Cursor:
    """Reads values one after another; struct.error at the end of the data."""

    def __init__(self, blob: mmap.mmap) -> None:
        self.blob = blob
        self.at = 0

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.blob, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        length = self.take("Q")
        end = self.at + length
        if end > len(self.blob):
            raise IndexError(f"a string of {length} bytes")
        raw = self.blob[self.at : end]
        self.at = end
        return raw.decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self.array()
        return self.take(_SCALARS[kind])

    def array(self) -> list[Any]:
        inner, count = self.take("I"), self.take("Q")
        if count > len(self.blob):
            raise IndexError(f"an array of {count} values")
        if inner in _SCALARS:
            code = f"<{count}{_SCALARS[inner]}"
            values = list(struct.unpack_from(code, self.blob, self.at))
            self.at += struct.calcsize(code)
            return values
        return [self.value(inner) for _ in range(count)]


def _parse(path: Path, blob: mmap.mmap) -> GgufFile:
    cursor = _Cursor(blob)
    cursor.at = 4
    version = cursor.take("I")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}, expected 2 or 3 (a big-endian file is not supported)")
    tensor_count, key_count = cursor.take("Q"), cursor.take("Q")
    if max(tensor_count, key_count) > len(blob):
        raise ValueError(f"it claims {tensor_count} tensors and {key_count} keys")
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.take("I"))
    if "general.architecture" not in metadata and metadata.get("general.type") != "imatrix":
        raise ValueError("no general.architecture in its header")
    entries = [_entry(cursor) for _ in range(tensor_count)]
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-cursor.at // alignment) * alignment
    tensors = {name: _tensor(name, shape, kind, start + offset) for name, shape, kind, offset in entries}
    return GgufFile(path, metadata, tensors)


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text()
    dimensions = [cursor.take("Q") for _ in range(min(cursor.take("I"), 8))]
    return name, tuple(reversed(dimensions)), cursor.take("I"), cursor.take("Q")


def _tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> GgufTensor:
    gguf = extras.require("gguf", extra="gguf", needed_for="a GGUF base model")
    type_ = gguf.GGMLQuantizationType(kind)
    block, block_bytes = gguf.GGML_QUANT_SIZES[type_]
    if shape and shape[-1] % block:
        raise ValueError(f"tensor {name} has rows of {shape[-1]} values, which {block} does not divide")
    return GgufTensor(name, str(type_.name), shape, offset, math.prod(shape) // block * block_bytes)
