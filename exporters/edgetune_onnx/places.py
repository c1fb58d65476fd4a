"""Places for adapters in a graph: beside each linear layer a path for two more matrices.

::

    y = x W + (x A) B      A (in, rank), B (rank, out): inputs of the graph that are also initializers

An input that is also an initializer need not be given (ONNX IR, "Graphs"). The initializers have rank 0, and a product
over nothing is zero: without an adapter the graph computes what it computed before, to the last bit. Each layer's rank
is open, so adapters of different ranks share a graph, and one that leaves a layer out leaves its inputs out.

onnxruntime-genai's builder has an option for adapters, which is not used: it writes one adapter's matrices into the
graph as constants, and does not know DoRA's magnitudes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgetune.errors import ExportError
from edgetune_onnx.graph import PACKED, packed_order

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: After a layer's name, the inputs for its two matrices.
A, B = ".lora_A.weight", ".lora_B.weight"
_LINEAR = re.compile(r"model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+_proj)\.weight")
#: Part of the names of all nodes added here.
_OURS = "/lora/"
_BASE = "/lora/base"


def has_place(weight: str) -> bool:
    """Whether a weight can be adapted in a graph: those of the linear layers within the blocks."""
    return _LINEAR.fullmatch(weight) is not None


def inputs_of(weight: str) -> tuple[str, str]:
    """Names of the inputs for a weight's A and B.

    >>> inputs_of("model.layers.0.mlp.up_proj.weight")[0]
    'model.layers.0.mlp.up_proj.lora_A.weight'
    """
    layer = weight.removesuffix(".weight")
    return layer + A, layer + B


def matmul_names(weight: str) -> tuple[str, str]:
    """The node that computes a layer: its own, or the one that computes q, k and v together."""
    found = _LINEAR.fullmatch(weight)
    assert found is not None, "has_place was asked"
    layer, part, module = found.groups()
    place = f"/model/layers.{layer}/{part.replace('self_attn', 'attn')}"
    return f"{place}/{module}/MatMul", f"{place}/{'qkv_proj' if module in PACKED else module}/MatMul"


def add_places(model: ModelProto, shapes: Mapping[str, tuple[int, ...]], *, half: bool) -> None:
    """Make room for an adapter beside every linear layer.

    Args:
        model: as the builder wrote it.
        shapes: weight → (out, in), of all tensors of the model.
        half: the graph computes in float16. Adapters stay float32: they fit a base of any precision.

    Raises:
        ExportError: a layer is not in the graph.
    """
    wanted: dict[str, list[str]] = {}
    names = {re.sub(r"(MatMul)_\w+$", r"\1", node.name) for node in model.graph.node}
    for weight in filter(has_place, shapes):
        node = next((name for name in matmul_names(weight) if name in names), None)
        if node is None:
            raise ExportError(f"onnxruntime-genai's builder wrote no {matmul_names(weight)[0]}", hint="report this")
        wanted.setdefault(node, []).append(weight)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        weights = wanted.get(re.sub(r"(MatMul)_\w+$", r"\1", node.name), [])
        if weights:
            weights.sort(key=packed_order)
            nodes += _paths(model, node, {weight: shapes[weight] for weight in weights}, half=half)
    _replace_nodes(model, nodes)


def remove_places(model: ModelProto) -> None:
    """The graph as it was before :func:`add_places`."""
    graph = model.graph
    for values in (graph.input, graph.initializer):
        for at in reversed(range(len(values))):
            if values[at].name.endswith((A, B)):
                del values[at]
    nodes = [node for node in graph.node if _OURS not in node.name]
    for node in nodes:
        if node.output[0].endswith(_BASE):
            node.output[0] = node.output[0].removesuffix(_BASE)
    _replace_nodes(model, nodes)


def place_inputs(model: ModelProto) -> list[str]:
    """Inputs of a graph that an adapter can give, and that have a default."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name.endswith((A, B)) and value.name in defaults]


def _paths(model: ModelProto, node: NodeProto, shapes: Mapping[str, tuple[int, ...]], *, half: bool) -> list[NodeProto]:
    """Nodes after a matrix: what an adapter adds to each of the layers in it."""
    from onnx import TensorProto, helper

    path, output = node.name.rsplit("/", 1)[0] + _OURS, node.output[0]
    node.output[0] = output + _BASE
    nodes: list[NodeProto] = []
    given, deltas = node.input[0], []

    def add(node: NodeProto) -> str:
        nodes.append(node)
        return str(node.output[0])

    def product(one: str, other: str, name: str) -> str:
        return add(helper.make_node("MatMul", [one, other], [f"{path}{name}/output_0"], f"{path}{name}"))

    if half:
        given = add(helper.make_node("Cast", [given], [f"{path}Float/output_0"], f"{path}Float", to=TensorProto.FLOAT))
    for weight, (out, into) in shapes.items():
        a, b = inputs_of(weight)
        rank, module = f"{weight}.rank", weight.split(".")[-2]
        _add_input(model, a, (into, rank), (into, 0))
        _add_input(model, b, (rank, out), (0, out))
        deltas.append(product(product(given, a, f"{module}/A"), b, f"{module}/B"))
    delta = deltas[0]
    if len(deltas) > 1:
        delta = add(helper.make_node("Concat", deltas, [f"{path}Concat/output_0"], f"{path}Concat", axis=-1))
    if half:
        delta = add(helper.make_node("Cast", [delta], [f"{path}Half/output_0"], f"{path}Half", to=TensorProto.FLOAT16))
    # What comes after reads the same name as before.
    nodes.append(helper.make_node("Add", [node.output[0], delta], [output], f"{path}Add"))
    return nodes


def _add_input(model: ModelProto, name: str, shape: tuple[int | str, ...], default: tuple[int, ...]) -> None:
    """An input that is also an initializer without numbers."""
    from onnx import TensorProto, helper

    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, default, b"", raw=True))


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
