"""Matrices whose blocks of values share a scale (MatMulNBits): their values, and how ONNX Runtime rounds to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune import extras
from edgetune.readback import Values
from edgetune_onnx.building import quantiser_log
from edgetune_onnx.precision import Precision

if TYPE_CHECKING:
    from onnx import TensorProto

_NODE, _ROWS = "rows", "values"


def dequantise(tensors: Sequence[TensorProto], bits: int, columns: int) -> Values:
    """Values of a MatMulNBits matrix: (code - zero point) · scale, block by block (ONNX Runtime's contrib operators).

    Args:
        tensors: codes (rows, blocks, bytes), scales (rows, blocks), and perhaps zero points, packed like codes.
        bits: of a code; two codes of four share a byte, the lower half first.
        columns: of the matrix; the last block is padded.
    """
    from onnx import numpy_helper

    packed, scales, *zero_points = (numpy_helper.to_array(tensor) for tensor in tensors)
    rows, blocks = packed.shape[:2]
    codes = _unpack(packed.reshape(rows, -1), bits).reshape(rows, blocks, -1).astype(np.float32)
    if zero_points:
        zeros = _unpack(zero_points[0].reshape(rows, -1), bits)[:, :blocks, None].astype(np.float32)
    else:
        zeros = np.full((1, 1, 1), 1 << (bits - 1), np.float32)
    values = (codes - zeros) * scales.reshape(rows, blocks, 1).astype(np.float32)
    result: Values = values.reshape(rows, -1)[:, :columns]
    return result


@cache
def identity() -> str | None:
    """The libraries that round: others may search in another way, and round the same values differently.

    None where one is not installed.
    """
    try:
        return ", ".join(f"{name} {metadata.version(name)}" for name in ("onnxruntime", "onnxruntime-genai"))
    except metadata.PackageNotFoundError:
        return None


def rounded_values(values: Values, precision: Precision, bits: int) -> Values:
    """Values as they come back from MatMulNBits: (rows, columns) float32.

    A block of a row is rounded by itself, so rows do not need their matrix. The arguments are those that
    onnxruntime-genai's builder gives ONNX Runtime's quantiser for :attr:`Precision.builder_options`.

    Args:
        values: rows of a matrix, as transformers has them.
        precision: of the artifact.
        bits: of this matrix.

    Raises:
        MissingExtra: no onnx, or no onnxruntime.
    """
    library = extras.require(
        "onnxruntime.quantization.matmul_nbits_quantizer", extra="onnx-export", needed_for="rounding weights again"
    )
    searched = precision.has_zero_points
    config = library.KQuantWeightOnlyQuantConfig(customized_weight_config={_NODE: {"bits": bits}}) if searched else None
    quantiser = library.MatMulNBitsQuantizer(
        _multiplication(values),
        bits=bits,
        block_size=precision.block,
        is_symmetric=True,
        accuracy_level=precision.accuracy,
        op_types_to_quantize=("MatMul",),
        algo_config=config,
    )
    with quantiser_log(), redirect_stdout(io.StringIO()):  # it prints a bar, and stdout is for results
        quantiser.process()
    graph = quantiser.model.model.graph
    (node,) = graph.node
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    return dequantise([tensors[name] for name in node.input[1:4] if name], bits, values.shape[1])


def _multiplication(values: Values) -> Any:
    """A model that multiplies with these rows, and does nothing else."""
    from onnx import TensorProto, helper, numpy_helper

    rows, columns = values.shape
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", columns])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", rows])]
    matrix = numpy_helper.from_array(np.ascontiguousarray(values.T, dtype=np.float32), _ROWS)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", _ROWS], ["y"], name=_NODE)], "rows", inputs, outputs, [matrix]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def pack(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes of four bits, two a byte, the lower half first; rows are even."""
    result: NDArray[np.uint8] = codes[:, ::2] | (codes[:, 1::2] << np.uint8(4))
    return result


def _unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes of each row, one a byte."""
    if bits == 8:
        return packed
    result: NDArray[np.uint8] = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(len(packed), -1)
    return result
