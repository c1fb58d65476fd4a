"""The GGUF file: its head by the official writer, its tensors one at a time, a few rows at a time where that can be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetune.adapters.merging import RowReader
from edgetune_gguf.mixture import Choice, row_bytes
from edgetune_gguf.quantiser import AHEAD, TASK_VALUES, Matrix, Source, default_threads, workers
from edgetune_gguf.tensors import FileTensor, Values

if TYPE_CHECKING:
    from gguf import GGUFWriter

#: GGUF's default: every tensor starts at a multiple of it.
ALIGNMENT = 32


def encoded_bytes(tensor: FileTensor, choice: Choice) -> int:
    """Size of a tensor in the file, without padding."""
    columns = tensor.shape[-1]
    return tensor.elements // columns * row_bytes(choice.type, columns)


def data_bytes(tensors: Sequence[FileTensor], choices: Mapping[str, Choice]) -> int:
    """Size of all tensors in the file, with padding."""
    sizes = (encoded_bytes(tensor, choices[tensor.name]) for tensor in tensors)
    return sum(size + _padding(size) for size in sizes)


def head_bytes(writer: GGUFWriter, tensors: Sequence[FileTensor], choices: Mapping[str, Choice]) -> int:
    """Size of what comes before the tensors, with padding. It is written to find out, and the writer is used up."""
    with tempfile.TemporaryDirectory(prefix="edgetune-") as folder:
        head = Path(folder) / "head.gguf"
        _write_head(head, writer, tensors, choices)
        size = head.stat().st_size
    return size + _padding(size)


def peak_bytes(tensors: Sequence[FileTensor], choices: Mapping[str, Choice]) -> int:
    """Memory needed at the most demanding tensor: values while they are made, and encoded beside them."""
    threads = default_threads()

    def needed(tensor: FileTensor) -> int:
        matrix = _matrix(tensor, lambda start, stop: np.empty((stop - start, 0), dtype=np.float32))
        step = min(matrix.step, matrix.shape[0])
        encoded = AHEAD * threads * step * row_bytes(choices[tensor.name].type, matrix.shape[1])
        return encoded + (threads * step * tensor.rows.working_bytes if tensor.rows else tensor.working_bytes)

    return max(needed(tensor) for tensor in tensors)


def write_gguf(  # noqa: PLR0913 - one call with everything the file is made of
    path: Path,
    writer: GGUFWriter,
    tensors: Sequence[FileTensor],
    choices: Mapping[str, Choice],
    *,
    threads: int,
    importance: Mapping[str, Values] | None = None,
    on_written: Callable[[FileTensor], object],
) -> str:
    """Write the file; at most one tensor is in memory at a time.

    Args:
        path: of the file; beside its final place, renamed by the caller.
        writer: with all metadata added.
        tensors: in the order they are written.
        choices: type of each.
        threads: for quantising.
        importance: of the inputs of some tensors.
        on_written: told each tensor that is done.

    Returns:
        SHA-256 of the file: hashing what passes by saves reading it again.

    Raises:
        ExportError: a tensor holds values that its type cannot.
        ModelError: a weight file is damaged.
    """
    _write_head(path, writer, tensors, choices)
    # The data follows by plain writes: unlike numpy's tofile they report a full disk as such.
    with path.open("rb") as head:
        digest = sha256(head.read(path.stat().st_size))
    waiting = iter(tensors)
    with path.open("ab") as handle, workers(threads) as pool:

        def put(data: bytes | memoryview) -> None:
            digest.update(data)
            handle.write(data)

        put(b"\0" * _padding(handle.tell()))
        for part in pool.quantise(
            _source(tensor, choices[tensor.name].type, (importance or {}).get(tensor.name)) for tensor in tensors
        ):
            put(part.data.data)
            if part.last:  # all of it lies at multiples of the alignment so far
                put(b"\0" * _padding(handle.tell()))
                on_written(next(waiting))
    return digest.hexdigest()


def _source(tensor: FileTensor, kind: str, importance: Values | None) -> Source:
    large = tensor.rows is None and tensor.elements > TASK_VALUES
    return Source(lambda: replace(_matrix(tensor, _reader(tensor)), importance=importance), kind, large)


def _reader(tensor: FileTensor) -> RowReader:
    if tensor.rows:
        return tensor.rows.open()
    values = tensor.make().reshape(-1, tensor.shape[-1])
    return lambda start, stop: values[start:stop]


def _matrix(tensor: FileTensor, rows: RowReader) -> Matrix:
    """A tensor as rows; a vector is one."""
    columns = tensor.shape[-1]
    return Matrix(tensor.name, (tensor.elements // columns, columns), rows, tensor.rows.unit if tensor.rows else 1)


def _write_head(path: Path, writer: GGUFWriter, tensors: Sequence[FileTensor], choices: Mapping[str, Choice]) -> None:
    from gguf import GGMLQuantizationType

    for tensor in tensors:
        choice = choices[tensor.name]
        kind = GGMLQuantizationType[choice.type]
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), encoded_bytes(tensor, choice), raw_dtype=kind
        )
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _padding(size: int) -> int:
    return -size % ALIGNMENT
