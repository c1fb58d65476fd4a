"""Four-bit codes of a built graph, replaced by those of GPTQ: the same nodes, better numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune import console
from edgetune.adapters.merging import EMBEDDING, HEAD
from edgetune.errors import ExportError
from edgetune_onnx import gptq
from edgetune_onnx.blocks import pack
from edgetune_onnx.graph import HEAD_NODE, packed_order
from edgetune_onnx.places import matmul_names
from edgetune_onnx.prepared import Prepared
from edgetune_onnx.products import Products

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def compensate(model: ModelProto, prepared: Prepared, products: Products) -> None:
    """Round the matrices of four bits again.

    Args:
        model: as the builder wrote it, with blocks that have zero points.
        prepared: what it was built from.
        products: of its inputs.

    Raises:
        ExportError: the graph is not as the builder writes it.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = _weights_of_nodes(model, prepared)

    @lru_cache(maxsize=1)  # those that read the same tensor come one after another
    def of(source: str) -> gptq.Inputs:
        return gptq.understand(products.of(source))

    with console.progress("Rounding (GPTQ)", sum(map(len, weights.values())), "matrices") as bar:
        for node in (node for node in model.graph.node if node.name in weights):
            parts = []
            for weight in weights[node.name]:
                inputs = gptq.understand(products.of_table()) if weight == EMBEDDING else of(products.source(weight))
                parts.append(gptq.quantise(prepared.weights.read(weight), inputs, prepared.precision.block))
                bar.advance()
            _store(node, stored, parts)


def _weights_of_nodes(model: ModelProto, prepared: Prepared) -> Mapping[str, list[str]]:
    """Node → the weights in it, in their order: q, k and v may be one matrix."""
    nodes = {node.name.removesuffix(f"_Q{gptq.BITS}"): node.name for node in model.graph.node}
    found: dict[str, list[str]] = {}
    for weight in filter(lambda name: prepared.bits(name) == gptq.BITS, prepared.names):
        names = (HEAD_NODE,) if weight in (HEAD, EMBEDDING) else matmul_names(weight)
        node = next((nodes[name] for name in names if name in nodes), None)
        if node is None:
            raise ExportError(f"onnxruntime-genai's builder wrote no {names[0]}", hint="report this")
        found.setdefault(node, []).append(weight)
    return {node: sorted(packed, key=packed_order) for node, packed in found.items()}


def _store(node: NodeProto, stored: Mapping[str, TensorProto], parts: list[gptq.Blocks]) -> None:
    """Put the rows of all parts, one after another, where the node's own were."""
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    codes = np.concatenate([part.codes for part in parts])
    block, zeros = settings["block_size"], np.concatenate([part.zero_points for part in parts])
    # The last block is filled up with what stands for zero.
    missing = -codes.shape[1] % block
    codes = np.concatenate([codes, np.repeat(zeros[:, -1:], missing, axis=1)], axis=1)
    arrays = (pack(codes), np.concatenate([part.scales for part in parts]), pack(zeros))
    names = [name for name in node.input[1:4] if name in stored]
    if len(names) != len(arrays):
        raise ExportError(
            f"onnxruntime-genai's builder wrote {node.name} without zero points",
            hint="install a version of onnxruntime-genai that edgetune knows",
        )
    for name, array in zip(names, arrays, strict=True):
        _replace(stored[name], array)


def _replace(tensor: TensorProto, array: NDArray[Any]) -> None:
    from onnx import numpy_helper

    before = numpy_helper.to_array(tensor)
    if before.size != array.size or before.dtype.kind != array.dtype.kind:
        raise ExportError(
            f"onnxruntime-genai's builder wrote {tensor.name} as {before.dtype} of {before.shape}",
            hint="install a version of onnxruntime-genai that edgetune knows",
        )
    tensor.CopyFrom(numpy_helper.from_array(array.astype(before.dtype).reshape(before.shape), tensor.name))
