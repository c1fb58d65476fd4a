"""onnxruntime-genai's model builder, run on a folder of merged weights."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from edgetune import console, extras
from edgetune.errors import EdgetuneError, ExportError
from edgetune_onnx.precision import Precision

#: What the builder prints before each layer.
_LAYER = re.compile(r"Reading layer \d+")
#: What its quantisers log of each matrix.
_MATRIX = re.compile(r"complete quantization of /|using k-quant quantization")
GRAPH = "model.onnx"


def build(model: Path, folder: Path, precision: Precision, steps: int) -> Path:
    """Write a model as an ONNX graph with its weights beside it.

    Remote code is never run. What the builder prints is kept for the error message.

    Args:
        model: config.json, safetensors and tokenizer.
        folder: gets ``model.onnx``, ``model.onnx.data``, ``genai_config.json`` and a copy of the tokenizer.
        precision: to write.
        steps: layers, and matrices to be rounded, for the progress bar.

    Returns:
        The graph.

    Raises:
        ExportError: the builder failed; MissingExtra: it is not installed.
    """
    with console.progress(f"Building {precision.name}", steps, "steps") as bar:
        output = _Listener(bar.advance)
        try:
            with quantiser_log(bar.advance), redirect_stdout(output), redirect_stderr(io.StringIO()):
                _run(str(model), str(folder), precision)
        except (EdgetuneError, OSError, MemoryError):
            raise
        except Exception as error:
            raise ExportError(
                f"onnxruntime-genai's builder failed: {type(error).__name__}: {error}".splitlines()[0],
                hint="export as GGUF (--format gguf), and report this",
                problems=output.last_lines,
            ) from error
    return folder / GRAPH


def _run(model: str, folder: str, precision: Precision) -> None:
    extras.require("onnx_ir", extra="onnx-export", needed_for="writing ONNX")
    builder = extras.require("onnxruntime_genai.models.builder", extra="onnx-export", needed_for="writing ONNX")
    place = (folder, precision.kind, precision.provider, f"{folder}/cache")
    options = [f"{name}={value}" for name, value in precision.builder_options.items()]
    settings = builder.parse_extra_options("", model, *place, options)
    builder.create_model("", model, *place, **settings)


@contextmanager
def quantiser_log(on_matrix: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Take what is logged, and leave logging as it was: importing the quantiser configures the whole process's."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = [_Counter(on_matrix)]
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)


class _Counter(logging.Handler):
    """Counts the matrices in a log."""

    def __init__(self, on_matrix: Callable[[], object]) -> None:
        super().__init__()
        self._on_matrix = on_matrix

    def emit(self, record: logging.LogRecord) -> None:
        if _MATRIX.search(record.getMessage()):
            self._on_matrix()


class _Listener(io.StringIO):
    """Keeps what is printed and counts the layers in it."""

    def __init__(self, on_layer: Callable[[], object]) -> None:
        super().__init__()
        self._on_layer = on_layer

    def write(self, text: str) -> int:
        if _LAYER.search(text):
            self._on_layer()
        return super().write(text)

    @property
    def last_lines(self) -> list[str]:
        return self.getvalue().strip().splitlines()[-5:]
