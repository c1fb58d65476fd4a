"""llama.cpp's own quantiser, from the library that llama-cpp-python ships.

Rows are independent, so a small pool of threads shares them: ctypes lets go of Python's lock.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ExportError, MissingExtra
from edgetune_gguf.mixture import row_bytes

#: Values that one task quantises: small enough to share well, large enough not to matter.
TASK_VALUES = 1 << 16

#: Biggest finite half float: F16 values and the scales of blocks would be infinite beyond it.
_HALF_MAX = 65504.0


def quantise(
    name: str, values: NDArray[np.float32], kind: str, threads: int, importance: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Encode a tensor.

    Args:
        name: of the tensor, for messages.
        values: float32, rows last-axis contiguous; columns a multiple of the type's block.
        kind: ggml's name of the type.
        threads: that share the rows.
        importance: (columns,) weights of the squared errors; None: all alike.

    Returns:
        The bytes as they stand in the file.

    Raises:
        ExportError: the values are not finite, or too large for the type.
    """
    columns = values.shape[-1]
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, columns)
    _require_finite(name, flat, kind)
    if kind == "F32":
        return flat.reshape(-1).view(np.uint8)
    size = row_bytes(kind, columns)
    encoded = np.empty((flat.shape[0], size), dtype=np.uint8)
    step = max(1, TASK_VALUES // columns)
    number = _type_number(kind)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    assert weights is None or weights.shape == (columns,), f"{name}: importance of {len(weights)} inputs"

    def task(start: int) -> int:
        rows, target = flat[start : start + step], encoded[start:].ctypes.data
        aim = None if weights is None else weights.ctypes.data
        return _quantise_chunk()(number, rows.ctypes.data, target, 0, len(rows), columns, aim)

    starts = range(0, len(flat), step)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        written = sum(pool.map(task, starts))
    assert written == encoded.nbytes, f"{name}: {written} bytes where {encoded.nbytes} were expected"
    return encoded.reshape(-1)


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
