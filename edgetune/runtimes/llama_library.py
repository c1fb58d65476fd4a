"""llama.cpp's library itself: loading it, what it says, and what of the processor it uses.

Its log is one for the process, so what is kept of it here is too.
"""

from __future__ import annotations

import ctypes
import re
from collections import deque
from types import ModuleType
from typing import Any

from edgetune.extras import require

#: GGML_LOG_LEVEL_WARN and GGML_LOG_LEVEL_ERROR of ggml.h.
_KEPT_LOG_LEVELS = (3, 4)
#: llama.cpp's last warnings and errors.
_log: deque[str] = deque(maxlen=20)
#: "CPU_Mapped model buffer size =   136.40 MiB": what llama.cpp says of the memory that it takes.
_BUFFER = re.compile(r"(\w+) buffer size = +([\d.]+) MiB")
#: Which (model, KV, compute, output) → bytes, since the last call of :func:`take_buffers`.
_buffers: list[tuple[str, int]] = []
#: The callback must outlive every call into llama.cpp.
_callbacks: list[Any] = []


def library() -> ModuleType:
    """llama-cpp-python's low-level module, with its log silenced and kept.

    Raises:
        MissingExtra: it is not installed.
    """
    module = require("llama_cpp", extra="gguf", needed_for="running a GGUF file")
    if not _callbacks:
        callback = module.llama_log_callback(_keep)
        module.llama_log_set(callback, ctypes.c_void_p(0))
        _callbacks.append(callback)
        module.llama_backend_init()
    return module


def _keep(level: int, text: bytes, _user_data: object) -> None:
    line = text.decode("utf-8", errors="replace").strip()
    if level in _KEPT_LOG_LEVELS and line:
        _log.append(line)
    elif found := _BUFFER.search(line):
        _buffers.append((found[1], round(float(found[2]) * 2**20)))


def take_buffers() -> dict[str, int]:
    """Bytes of the buffers that llama.cpp told of since this was last called, by its word for them."""
    found: dict[str, int] = {}
    for kind, size in _buffers:
        found[kind] = found.get(kind, 0) + size
    _buffers.clear()
    return found


def forget_words() -> None:
    """So that what is complained of next is not mixed with what was."""
    _log.clear()


def all_words() -> tuple[str, ...]:
    """What llama.cpp complained of since, line by line."""
    return tuple(_log)


def last_words() -> str:
    """What llama.cpp last complained of, for a message."""
    return "; ".join(list(_log)[-3:]) or "llama.cpp gave no reason"


def system_info() -> str:
    """llama.cpp's line about the processor features it uses."""
    text: bytes = library().llama_print_system_info()
    return text.decode("utf-8", errors="replace").strip()


def broken_amx() -> bool:
    """Whether llama.cpp was compiled for AMX, which ends some processes in a segmentation fault.

    Compilers may leave the tile configuration unwritten that llama.cpp loads (its issue 20824 and pull request 26954);
    nothing in the library tells whether this one did. Its matrices live in extra buffers, so without those it is idle.
    """
    return "AMX_INT8 = 1" in system_info()
