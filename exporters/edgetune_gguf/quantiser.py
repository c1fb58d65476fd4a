"""llama.cpp's own quantiser, from the library that llama-cpp-python ships.

Rows are independent, so a small pool of threads shares them: ctypes lets go of Python's lock. A task makes its rows
and encodes them while they are in the processor's cache, and neither the values of a tensor nor its bytes are ever
in memory whole.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetune import files
from edgetune.errors import ExportError, MissingExtra
from edgetune_gguf.mixture import row_bytes

#: Values that one task makes and quantises: few enough for a processor's cache, enough for its own costs not to matter.
TASK_VALUES = 1 << 19
#: Tasks for each thread that have been handed out and whose bytes have not been taken.
AHEAD = 2

#: Biggest finite half float: F16 values and the scales of blocks would be infinite beyond it.
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class Matrix:
    """Values to encode.

    Attributes:
        name: of the tensor, for messages.
        shape: (rows, columns); columns are a multiple of the type's block.
        rows: makes some of the rows: float32.
        unit: rows are made in multiples of it.
        importance: (columns,) float32, weights of the squared errors; None: all alike.
    """

    name: str
    shape: tuple[int, int]
    rows: Callable[[int, int], NDArray[np.float32]]
    unit: int = 1
    importance: NDArray[np.float32] | None = None

    @property
    def step(self) -> int:
        """Rows that one task makes."""
        return max(1, TASK_VALUES // self.shape[1] // self.unit) * self.unit


@dataclass(frozen=True)
class Source:
    """A matrix that is opened when its turn comes.

    Attributes:
        open: gives the matrix.
        kind: ggml's name of the type to encode it in.
        large: it comes whole, so those before it are done with first.
    """

    open: Callable[[], Matrix]
    kind: str
    large: bool = False


@dataclass(frozen=True)
class Encoded:
    """Some rows.

    Attributes:
        data: as they stand in the file.
        last: of their matrix.
    """

    data: NDArray[np.uint8]
    last: bool


class Workers:
    """Threads that encode. Made by :func:`workers`."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool = pool
        self._ahead = AHEAD * threads

    def quantise(self, sources: Iterable[Source]) -> Iterator[Encoded]:
        """Encode matrices in order, without a pause between one and the next.

        Raises:
            ExportError: values are not finite, or too large for the type.
        """
        waiting: deque[Future[Encoded]] = deque()
        for source in sources:
            while source.large and waiting:
                yield waiting.popleft().result()
            matrix = source.open()
            for start in range(0, matrix.shape[0], matrix.step):
                if len(waiting) == self._ahead:
                    yield waiting.popleft().result()
                waiting.append(self._pool.submit(_encode, matrix, start, source.kind))
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def workers(threads: int) -> Iterator[Workers]:
    """A pool of ``threads``; torch's operators use one thread in each of them."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with ThreadPoolExecutor(max(1, threads), initializer=_alone) as pool:
        try:
            yield Workers(pool, max(1, threads))
        finally:
            pool.shutdown(cancel_futures=True)
            if torch:
                torch.set_num_threads(before)


def _alone() -> None:
    # A thread of its own for each task and several for each operator would be more than there are processors.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _encode(matrix: Matrix, start: int, kind: str) -> Encoded:
    stop, columns = min(matrix.shape[0], start + matrix.step), matrix.shape[1]
    rows = np.ascontiguousarray(matrix.rows(start, stop), dtype=np.float32)
    _require_finite(matrix.name, rows, kind)
    if kind == "F32":
        return Encoded(rows.reshape(-1).view(np.uint8), stop == matrix.shape[0])
    encoded = np.empty((stop - start) * row_bytes(kind, columns), dtype=np.uint8)
    aim = matrix.importance
    assert aim is None or (aim.shape == (columns,) and aim.dtype == np.float32), f"{matrix.name}: importance"
    written = _quantise_chunk()(
        _type_number(kind),
        rows.ctypes.data,
        encoded.ctypes.data,
        0,
        stop - start,
        columns,
        None if aim is None else aim.ctypes.data,
    )
    assert written == encoded.nbytes, f"{matrix.name}: {written} bytes where {encoded.nbytes} were expected"
    return Encoded(encoded, stop == matrix.shape[0])


def rounded_values(
    values: NDArray[np.float32], kind: str, importance: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Values as they come back from a type: (rows, columns) float32; see :class:`Matrix` for the others."""
    from gguf import GGMLQuantizationType, quants

    matrix = Matrix("rows", (len(values), values.shape[1]), lambda start, stop: values[start:stop], 1, importance)
    parts = [_encode(matrix, start, kind).data for start in range(0, len(values), matrix.step)]
    rows = np.concatenate(parts).reshape(len(values), -1)
    restored: NDArray[np.float32] = quants.dequantize(rows, GGMLQuantizationType[kind])
    return restored


@cache
def identity() -> str | None:
    """Of the quantiser: another version, or the same compiled for another processor, may round some values otherwise.

    None where there is none.
    """
    try:
        return f"llama-cpp-python {metadata.version('llama-cpp-python')}, {files.sha256_file(_library())[:12]}"
    except (MissingExtra, ExportError, metadata.PackageNotFoundError):
        return None


def default_threads() -> int:
    """Processors that this process may use, at most eight."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, allowed)


def _require_finite(name: str, rows: NDArray[np.float32], kind: str) -> None:
    low, high = (float(rows.min()), float(rows.max())) if rows.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ExportError(
            f"{name} holds values that are not finite", hint="the training diverged; try a lower --learning-rate"
        )
    if kind not in ("F32", "BF16") and max(-low, high) > _HALF_MAX:
        raise ExportError(f"{name} holds values too large for {kind}", hint="export with --quant bf16")


def _type_number(kind: str) -> int:
    from gguf import GGMLQuantizationType

    return int(GGMLQuantizationType[kind])


@cache
def _quantise_chunk() -> Callable[..., int]:
    """``size_t ggml_quantize_chunk(type, src, dst, start, rows, columns, importance)``."""
    function = ctypes.CDLL(str(_library())).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    typed: Callable[..., int] = function
    return typed


def _library() -> Path:
    """The shared library, found without importing llama_cpp.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        ExportError: it is, but brings no such library.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise MissingExtra("gguf", "quantising")
    folder = Path(spec.origin).parent / "lib"
    for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll"):
        if (folder / name).is_file():
            return folder / name
    raise ExportError(f"no ggml library in {folder}", hint="pip install --force-reinstall llama-cpp-python")
