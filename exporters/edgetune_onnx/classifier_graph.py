"""The graph of a classifier: traced by torch, rounded by onnxruntime's own tools."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Lock
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgetune import files
from edgetune.errors import ArtifactError, ExportError
from edgetune.exporters import TunedModel
from edgetune.extras import require
from edgetune.runtimes.torch_classifier import load_classifier
from edgetune_onnx.tracing import calibration_batches, traced

if TYPE_CHECKING:
    from onnx import ModelProto

GRAPH = "model.onnx"
#: What static eight bits round: the products that nearly all of the time and the weights are in. Norms, soft-max and
#: GELU stay float32, where eight bits cost most and gain nothing.
STATIC_OPS = ("MatMul", "Gemm", "Conv")
_CAN_BE_EXPORTED = {
    "text-classification": "BERT, DistilBERT, RoBERTa, ModernBERT and Llama can be exported",
    "image-classification": "ResNet, MobileNetV2, ViT, ConvNeXT and EfficientNet can be exported",
}


def write(model: TunedModel, precision: str, path: Path, facts: Mapping[str, str]) -> dict[str, int]:
    """Write the graph of a classifier.

    Args:
        model: trained.
        precision: one of :data:`edgetune_onnx.classifier.PRECISIONS`.
        path: of the graph.
        facts: what it says of itself.

    Returns:
        Type → number of weight tensors.

    Raises:
        ExportError: torch cannot trace it, or onnxruntime cannot round it.
    """
    onnx = require("onnx", extra="onnx-export", needed_for="exporting a classifier")
    with TemporaryDirectory(prefix="edgetune-") as scratch, _quiet():
        whole = Path(scratch) / "fp32.onnx"
        _traced_once(model, whole)
        graph = _rounded(model, precision, whole, Path(scratch))
    del graph.metadata_props[:]
    for key, value in facts.items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_name = "edgetune"
    onnx.save(graph, path)
    kinds = Counter(
        onnx.TensorProto.DataType.Name(one.data_type) for one in graph.graph.initializer if len(one.dims) > 1
    )
    return dict(sorted(kinds.items()))


def read_facts(path: Path) -> dict[str, str]:
    """What a graph says of itself.

    Raises:
        ArtifactError: it is no graph.
    """
    onnx = require("onnx", extra="onnx-export", needed_for="reading a graph")
    try:
        graph = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's exceptions are its own
        raise ArtifactError(f"{path} is no ONNX graph: {error}", hint="export again") from error
    return {one.key: one.value for one in graph.metadata_props}


#: The model traced last → where its graph lies. Tracing takes long, and a model is mostly exported in several
#: precisions.
_last: dict[str, Path] = {}
_tracing = Lock()


def _traced_once(model: TunedModel, path: Path) -> None:
    """Write the float32 graph; it is traced anew where any file of the model is not as it was."""
    key = _content(model)
    with _tracing:
        if key not in _last or not _last[key].is_file():
            while _last:
                _last.popitem()[1].unlink(missing_ok=True)
            folder = Path(mkdtemp(prefix="edgetune-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _trace(model, folder / GRAPH)
            _last[key] = folder / GRAPH
        shutil.copyfile(_last[key], path)


def _content(model: TunedModel) -> str:
    """Hash over everything that is traced."""
    folders = (model.base_folder, model.adapter_folder, model.tokenizer_folder)
    held = [dict(files.sha256_files(folder)) if folder else None for folder in folders]
    told = (model.task, model.labels, model.max_tokens, model.trained_against, model.quantised_modules)
    return files.sha256_json([held, told, model.quantised_from])


def _trace(model: TunedModel, path: Path) -> None:
    """The trained model, its adapter merged by PEFT, as a float32 graph of any batch."""
    import torch

    require("onnxscript", extra="onnx-export", needed_for="exporting a classifier")
    tuned = load_classifier(model, merge=True)
    found = traced(model, tuned)
    try:
        program = torch.onnx.export(
            found.module,
            tuple(found.examples.values()),
            dynamo=True,
            dynamic_shapes=found.axes,
            input_names=list(found.examples),
            output_names=["logits"],
            verbose=False,
        )
    except Exception as error:  # torch's exporter raises classes of many modules
        raise ExportError(
            f"torch cannot trace this {type(tuned).__name__}: {_first_line(error)}", hint=_CAN_BE_EXPORTED[model.task]
        ) from error
    assert program is not None, "the dynamo exporter returns a program"
    program.save(path, external_data=False)


def _rounded(model: TunedModel, precision: str, whole: Path, scratch: Path) -> ModelProto:
    """The float32 graph in another precision."""
    import onnx

    if precision == "fp32":
        return onnx.load(whole)
    if precision == "fp16":
        float16 = require("onnxruntime.transformers.float16", extra="onnx-export", needed_for="exporting in fp16")
        half: ModelProto = float16.convert_float_to_float16(onnx.load(whole), keep_io_types=True)
        return half
    quantization = require("onnxruntime.quantization", extra="onnx-export", needed_for="exporting in eight bits")
    ready, done = scratch / "ready.onnx", scratch / "done.onnx"
    try:
        quantization.shape_inference.quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        if precision == "int8":
            quantization.quantize_dynamic(ready, done, weight_type=quantization.QuantType.QInt8, per_channel=True)
        else:
            _static(quantization, model, ready, done)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ExportError(
            f"onnxruntime cannot round this graph: {_first_line(error)}", hint="export fp32 or fp16 instead"
        ) from error
    return onnx.load(done)


def _static(quantization: Any, model: TunedModel, ready: Path, done: Path) -> None:
    """Eight bits for weights and activations; the activations' ranges are those of training rows."""
    assert model.calibration is not None, "the plan has asked for them"
    batches = calibration_batches(model, model.calibration)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(batches, None)

    quantization.quantize_static(
        ready,
        done,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(STATIC_OPS),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Around torch's exporter and onnxruntime's tools, which tell of every step."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "root")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
