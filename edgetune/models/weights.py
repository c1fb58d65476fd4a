"""safetensors files: their headers read without their data, and one written tensor by tensor.

Layout (github.com/huggingface/safetensors): eight bytes of header length, little-endian, then JSON
``{name: {"dtype", "shape", "data_offsets"}}``, then the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ModelError

INDEX = "model.safetensors.index.json"
#: Bytes of one element, by the name safetensors gives the type.
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file, as its header describes it.

    Attributes:
        file: the file it lies in.
        dtype: safetensors' name: ``F32``, ``BF16``, ….
        shape: rows first.
        start: where its first byte lies in the file.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a model's weights, sorted by name.

    Raises:
        ModelError: there are none, or the index names a shard that is not there.
    """
    index, single = folder / INDEX, folder / "model.safetensors"
    if single.is_file() and not index.is_file():
        return [single]
    if not index.is_file():
        found = sorted(folder.glob("*.safetensors"))
        if not found:
            raise ModelError(f"no weights in {folder}: expected model.safetensors", hint="download the model again")
        return found
    names = sorted(set(_read_index(index).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} is incomplete: {len(missing)} of {len(names)} weight files are missing",
            hint="download the model again; an interrupted download goes on where it stopped",
            problems=[f"{name}: missing" for name in missing],
        )
    return [folder / name for name in names]


def tensor_shapes(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a model folder by name, from the headers alone.

    Raises:
        ModelError: a file is missing, truncated or not safetensors; all findings are in ``problems``.
    """
    tensors: dict[str, StoredTensor] = {}
    problems = []
    for file in weight_files(folder):
        try:
            tensors |= _read_header(file)
        except ModelError as error:
            problems.append(error.message)
    if problems:
        raise ModelError(f"damaged weights in {folder}", hint="download or copy the model again", problems=problems)
    return tensors


def count_parameters(folder: Path) -> int:
    """Number of values in a model's weight files; tied weights count once, as they are stored once."""
    return sum(tensor.elements for tensor in tensor_shapes(folder).values())


def _read_index(index: Path) -> Mapping[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index} is damaged: {error}", hint="download or copy the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{index} is damaged: weight_map is no table", hint="download or copy the model again")
    return found


def _read_header(file: Path) -> dict[str, StoredTensor]:
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= size - 8:
            raise ModelError(f"{file.name}: not a safetensors file ({size} bytes)")
        try:
            entries: dict[str, Any] = json.loads(handle.read(length))
            entries.pop("__metadata__", None)
            data = 8 + length
            needed = data + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
            found = {
                name: StoredTensor(file, entry["dtype"], tuple(entry["shape"]), data + int(entry["data_offsets"][0]))
                for name, entry in entries.items()
            }
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ModelError(f"{file.name}: its header is damaged") from error
    if size < needed:
        raise ModelError(f"{file.name}: truncated, {size} bytes where its header promises {needed}")
    return found


@dataclass(frozen=True)
class Pending:
    """A tensor that is computed when its turn to be written comes.

    Attributes:
        name: as the model calls it.
        dtype: ``F32``, ``F16`` or ``BF16``.
        shape: rows first.
        make: returns the values, float32, of that shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], NDArray[np.float32]]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def write_safetensors(
    path: Path,
    tensors: Sequence[Pending],
    on_written: Callable[[int], object] = lambda _: None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file with only one tensor in memory at a time.

    Args:
        path: the file; use :func:`edgetune.files.atomic_path` around it.
        tensors: in the order they are written.
        on_written: told the bytes of each tensor as it is done.
        facts: the file's metadata, where it holds no model.
    """
    header = json.dumps({"__metadata__": dict(facts or {"format": "pt"})} | dict(_entries(tensors))).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as handle:
        handle.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors:
            values = tensor.make()
            assert values.shape == tensor.shape, f"{tensor.name}: {values.shape} instead of {tensor.shape}"
            handle.write(np.ascontiguousarray(_encode(values, tensor.dtype)).data)
            del values  # before the next one is made
            on_written(tensor.nbytes)


def as_stored(values: NDArray[np.float32], dtype: str) -> NDArray[np.float32]:
    """What is left of float32 values once they are stored as ``F32``, ``F16`` or ``BF16``.

    >>> as_stored(np.array([1.001], dtype=np.float32), "BF16")
    array([1.], dtype=float32)
    """
    stored = _encode(values, dtype)
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32, copy=False)


def _entries(tensors: Iterable[Pending]) -> Iterable[tuple[str, dict[str, Any]]]:
    offset = 0
    for tensor in tensors:
        ends = [offset, offset + tensor.nbytes]
        yield tensor.name, {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": ends}
        offset = ends[1]


def _encode(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Values in a stored type. bfloat16 is float32's upper half, rounded to nearest even."""
    if dtype == "F16":
        return values.astype("<f2")
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        rounded = bits >> 16
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
        return rounded.astype("<u2")
    return values.astype("<f4", copy=False)
