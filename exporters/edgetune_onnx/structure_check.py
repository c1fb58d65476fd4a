"""Which nodes a graph has, and how they hang together: nothing more, less or other than the builder writes.

Layers of one model are built alike, so a layer that computes otherwise stands out from the rest. What lies outside of
them is short enough to be listed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetune.models.text_config import ModelConfig
from edgetune_onnx.graph import HEAD_NODE, TABLE_NODE
from edgetune_onnx.graph_check import attribute_value

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Differ between layers for a reason, and are looked at elsewhere: each matrix has its type, windows may alternate.
_OF_A_LAYER = frozenset({"bits", "block_size", "accuracy_level", "K", "N", "local_window_size"})
#: Outside of layers: kinds of nodes below a name → how many there may be.
_OUTSIDE: dict[str, tuple[dict[str, int], ...]] = {
    "/model/attn_mask_reformat/": ({"ReduceSum": 1, "Sub": 1, "Cast": 2, "Shape": 1, "Gather": 1},),
    "/model/embed_tokens/": (
        {"Gather": 1},
        {"Gather": 1, "Transpose": 1},
        {"Reshape": 1, "GatherBlockQuantized": 1},
        {"GatherBlockQuantized": 1},
    ),
    "/lm_head/": ({"MatMul": 1}, {"MatMulNBits": 1}),
}
#: Kinds of nodes that take two numbers for each value.
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max")


def structure_problems(graph: ModelProto, config: ModelConfig) -> list[str]:
    """Nodes that are missing, added or wired otherwise than the builder does."""
    return [
        *_layer_problems(graph),
        *_norm_problems(graph),
        *_outside_problems(graph, config),
        *_chain_problems(graph, config),
        *_scalar_problems(graph, config),
    ]


def _layer_problems(graph: ModelProto) -> Iterator[str]:
    """Layers that are not as most are; the first one reads what the table gives and not another layer."""
    stored = {tensor.name for tensor in graph.graph.initializer}
    layers: dict[int, list[tuple[Any, ...]]] = {}
    for node in graph.graph.node:
        place = re.search(r"/layers\.(\d+)/", node.name)
        if place and "/final_norm_layernorm/" not in node.name and "/input_layernorm/" not in node.name:
            number = int(place[1])
            layers.setdefault(number, []).append(_signature(node, number, stored))
    if not layers:
        yield "the graph has no layers"
        return
    shapes = {number: Counter(signatures) for number, signatures in layers.items()}
    usual = Counter(frozenset(shape.items()) for shape in shapes.values()).most_common(1)[0][0]
    for number, shape in sorted(shapes.items()):
        others = dict(shape.items() ^ usual)
        if others:
            names = ", ".join(sorted({str(one[0]) for one in others}))
            yield f"layer {number} of the graph is not built as most are: {names}"


def _norm_problems(graph: ModelProto) -> Iterator[str]:
    """Norms that do not read weights of their own name."""
    for node in graph.graph.node:
        place = re.match(r"/(model/layers\.\d+/\w+)/", node.name)
        if place and node.op_type.endswith("LayerNormalization"):
            own = place[1].replace("/", ".")
            if not any(name.startswith(own) for name in node.input):
                yield f"the graph's {node.name} does not read the weights of {own}"


def _signature(node: NodeProto, number: int, stored: set[str]) -> tuple[Any, ...]:
    """What a node computes from what, its layer's number taken away."""

    def plain(name: str) -> str:
        if name.startswith("/model/embed_tokens/"):  # the first layer's stream comes from the table
            return "stream"
        moved = re.sub(r"layers\.(\d+)", lambda found: f"layers.{int(found[1]) - number:+d}", name)
        if name in stored:  # each matrix has its own type, and with it the end of its name
            return re.sub(r"\.weight_\w+$", ".weight", moved)
        moved = re.sub(rf"\b(past_key_values|present)\.{number}\b", r"\1", moved)
        return "stream" if re.search(r"layers\.\+0/input_layernorm/output_3$", moved) else moved

    settings = [one for one in node.attribute if one.name not in _OF_A_LAYER]
    attributes = tuple(sorted((one.name, repr(attribute_value(one))) for one in settings))
    name = re.sub(r"_Q\d+\w*$", "", plain(node.name))
    return (node.op_type, name, tuple(map(plain, node.input)), tuple(map(plain, node.output)), attributes)


def _outside_problems(graph: ModelProto, config: ModelConfig) -> Iterator[str]:
    """Nodes outside of layers beside those that there have to be."""
    scaled = {
        "/model/embed_tokens/": _scale(config, "embedding_multiplier"),
        "/lm_head/": _scale(config, "logits_scaling"),
    }
    found: dict[str, Counter[str]] = {prefix: Counter() for prefix in _OUTSIDE}
    for node in graph.graph.node:
        if "/layers." in node.name or node.op_type == "Constant":
            continue
        prefix = next((one for one in _OUTSIDE if node.name.startswith(one)), None)
        if prefix is None:
            yield f"the graph has a node more: {node.op_type} {node.name or '(without a name)'}"
        else:
            found[prefix][node.op_type] += 1
    for prefix, counts in found.items():
        more = {"Mul": 1} if scaled.get(prefix, 1.0) != 1 else {}
        if not any(counts == Counter(allowed | more) for allowed in _OUTSIDE[prefix]):
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
            yield f"the graph's {prefix.strip('/')} is made of {kinds}"


def _chain_problems(graph: ModelProto, config: ModelConfig) -> Iterator[str]:
    """What logits are made of, and what the first layer reads."""
    makers = {output: node for node in graph.graph.node for output in node.output}
    head = makers.get("logits")
    if head is not None and _scale(config, "logits_scaling") != 1:
        head = makers.get(head.input[0])
    if head is None or not head.name.startswith(HEAD_NODE):
        yield f"the graph's logits do not come from {HEAD_NODE}"
    elif "/final_norm_layernorm/" not in head.input[0]:
        yield f"the graph's {HEAD_NODE} reads {head.input[0]}, not the last norm"
    first = next((node for node in graph.graph.node if "/layers.0/input_layernorm/" in node.name), None)
    table = makers.get(first.input[0]) if first is not None else None
    if table is not None and _scale(config, "embedding_multiplier") != 1:
        table = makers.get(table.input[0])
    # A quantiser appends to the name.
    if table is None or not table.name.startswith(TABLE_NODE) or "input_ids" not in table.input:
        yield f"the graph's first layer does not read {TABLE_NODE} of input_ids"


def _scalar_problems(graph: ModelProto, config: ModelConfig) -> Iterator[str]:
    """Single numbers that values are multiplied with, or added to, and that config.json does not name."""
    from onnx import numpy_helper

    known = [_scale(config, "embedding_multiplier"), _scale(config, "residual_multiplier")]
    known.append(1 / _scale(config, "logits_scaling"))
    numbers = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer if math.prod(tensor.dims) == 1
    }
    for node in graph.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            numbers[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for node in graph.graph.node:
        for name in node.input if node.op_type in _ARITHMETIC else ():
            value = numbers.get(name)
            if value is None or value.size != 1 or not np.issubdtype(value.dtype, np.floating):
                continue
            right = node.op_type == "Mul" and any(
                math.isclose(float(value), one, rel_tol=1e-3) for one in known if one != 1
            )
            if not right:
                yield f"the graph's {node.op_type} {node.name} takes the number {float(value):g}"


def _scale(config: ModelConfig, key: str) -> float:
    return float(config.raw.get(key) or 1.0)
