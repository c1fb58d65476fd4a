"""Reading the head of a GGUF file: enough to tell a whole file from a truncated or foreign one.

The layout is GGUF version 2/3 as specified in llama.cpp's ``docs/gguf.md``: magic, version,
tensor count, key count, the keys, the tensor table, padding, tensor data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgetune.errors import ArtifactError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
#: Value type → struct letter, in the order of the specification; 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: Arrays longer than this are skipped, not kept: vocabularies run to 250,000 entries.
_KEEP_ITEMS = 64
_MAX_DIMENSIONS = 4
_MAX_KEY_BYTES = 65535


@dataclass(frozen=True)
class TensorEntry:
    """One row of the tensor table: ``shape`` in GGUF order (fastest first), ``offset`` in bytes into the data."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """The head of a GGUF file.

    Attributes:
        metadata: keys with scalar, string and short array values; long arrays are left out.
        tensors: the tensor table.
        data_start: byte at which tensor data begins.
    """

    metadata: Mapping[str, Any]
    tensors: tuple[TensorEntry, ...]
    data_start: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture, the prefix of its keys; empty where the file does not say."""
        return str(self.metadata.get("general.architecture", ""))


class _Reader:
    """Little-endian fields from a file, never past its end."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle = handle
        self.size = size

    def take(self, count: int) -> bytes:
        if count > self.size - self._handle.tell():
            raise EOFError
        return self._handle.read(count)

    def skip(self, count: int) -> None:
        if count > self.size - self._handle.tell():
            raise EOFError
        self._handle.seek(count, 1)

    def scalar(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def string(self, limit: int | None = None) -> str:
        length = self.scalar("Q")
        if limit is not None and length > limit:
            raise ValueError(f"a name of {length} bytes")
        return self.take(length).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """One value; None for an array too long to keep."""
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise ValueError(f"value type {kind}, which GGUF does not have")
        return self.scalar(_SCALARS[kind])

    def _array(self) -> list[Any] | None:
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind in _SCALARS and count > _KEEP_ITEMS:
            self.skip(count * struct.calcsize("<" + _SCALARS[kind]))
            return None
        if kind == _STRING and count > _KEEP_ITEMS:
            for _ in range(count):
                self.skip(self.scalar("Q"))
            return None
        return [self.value(kind) for _ in range(count)]

    @property
    def position(self) -> int:
        return self._handle.tell()


def read_header(path: Path) -> GgufHeader:
    """Read keys and tensor table.

    Raises:
        ArtifactError: not a GGUF file, another version, or damaged before the tensor data.
    """
    try:
        with path.open("rb") as handle:
            return _parse(path, _Reader(handle, path.stat().st_size))
    except EOFError as error:
        raise ArtifactError(
            f"{path} ends in the middle of its header: it is truncated", hint="export or download it again"
        ) from error
    except (ValueError, struct.error) as error:
        raise ArtifactError(f"{path} is damaged: its header holds {error}", hint="export or download it again") from (
            error
        )
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from (
            error
        )


def check_file(path: Path) -> GgufHeader:
    """Read the header and check that the file is long enough for every tensor in it.

    Raises:
        ArtifactError: as :func:`read_header`, or tensor data is missing.
    """
    header = read_header(path)
    size = path.stat().st_size
    needed = header.data_start + max((entry.offset + _tensor_bytes(entry) for entry in header.tensors), default=0)
    if needed > size:
        raise ArtifactError(
            f"{path} is truncated: {size} bytes, but its tensors need {needed}", hint="export or download it again"
        )
    return header


def _parse(path: Path, reader: _Reader) -> GgufHeader:
    magic = reader.take(4) if reader.size >= 4 else b""
    if magic != MAGIC:
        raise ArtifactError(
            f"{path} is not a GGUF file: it begins with {magic!r}, not {MAGIC!r}",
            hint="edgetune export RUN --format gguf writes one",
        )
    version = reader.scalar("I")
    if version not in VERSIONS:
        raise ArtifactError(f"{path} has GGUF version {version}; readable: 2 and 3", hint="convert the model again")
    tensor_count, key_count = reader.scalar("Q"), reader.scalar("Q")
    metadata = {}
    for _ in range(key_count):
        key = reader.string(_MAX_KEY_BYTES)
        value = reader.value(reader.scalar("I"))
        if value is not None:
            metadata[key] = value
    tensors = tuple(_tensor(reader) for _ in range(tensor_count))
    alignment = int(metadata.get("general.alignment", 32))
    if alignment <= 0:
        raise ValueError(f"an alignment of {alignment}")
    return GgufHeader(metadata, tensors, -(-reader.position // alignment) * alignment)


def _tensor(reader: _Reader) -> TensorEntry:
    name = reader.string(_MAX_KEY_BYTES)
    dimensions = reader.scalar("I")
    if dimensions > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor with {dimensions} dimensions")
    shape = tuple(reader.scalar("Q") for _ in range(dimensions))
    return TensorEntry(name, shape, reader.scalar("I"), reader.scalar("Q"))


def _tensor_bytes(entry: TensorEntry) -> int:
    """Size of the tensor's data; 0 for a type that the gguf package does not know (llama.cpp will judge it)."""
    from edgetune.extras import require

    constants = require("gguf.constants", extra="gguf", needed_for="reading a GGUF file")
    try:
        block, block_bytes = constants.GGML_QUANT_SIZES[constants.GGMLQuantizationType(entry.type_id)]
    except (KeyError, ValueError):
        return 0
    elements = 1
    for length in entry.shape:
        elements *= length
    return elements // int(block) * int(block_bytes)
