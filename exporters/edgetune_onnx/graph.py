"""What is done to the builder's graph: shapes that browsers need, one table for head and embedding, saving."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.errors import ExportError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: Protobuf reads and writes no message of 2 GiB; larger weights go into a file of their own. What is left of the 2 GiB
#: is for nodes.
SINGLE_FILE_BYTES = 2_000_000_000
#: Bytes of a weight that goes there; smaller ones stay in the graph.
_SMALLEST_APART = 1024
#: Layers whose matrices the builder may write as one, in this order.
PACKED = ("q_proj", "k_proj", "v_proj")
HEAD_NODE, TABLE_NODE = "/lm_head/MatMul", "/model/embed_tokens/Gather"
_CACHE_PREFIXES = ("past_key_values.", "present.")


def name_head_size(model: ModelProto, head_size: int) -> None:
    """Write the width of a head into the cache's shapes: (batch, key-value heads, past, head size).

    The builder leaves it open. transformers.js makes the empty cache of the first step from these shapes, and takes an
    open width for 0.
    """
    for value in (*model.graph.input, *model.graph.output):
        if value.name.startswith(_CACHE_PREFIXES):
            width = value.type.tensor_type.shape.dim[3]
            width.Clear()
            width.dim_value = head_size


def share_table(model: ModelProto, block: int) -> None:
    """Let the embedding look up the head's eight-bit rows, in place of a float32 table of its own.

    Raises:
        ExportError: the graph is not as the builder writes it.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    head, lookup = find_node(graph, HEAD_NODE), find_node(graph, TABLE_NODE)
    codes, scales, *zero_points = head.input[1:]
    rows = next(tensor.dims[0] for tensor in graph.initializer if tensor.name == codes)
    flat = helper.make_tensor("model.embed_tokens.rows", TensorProto.INT64, [2], [rows, -1])
    # (vocabulary, blocks, block) → (vocabulary, hidden): the rows as the lookup wants them.
    nodes = [
        helper.make_node("Reshape", [codes, flat.name], ["model.embed_tokens.codes"], "/model/embed_tokens/Reshape")
    ]
    inputs = ["model.embed_tokens.codes", lookup.input[1], scales, *zero_points]
    nodes.append(
        helper.make_node(
            "GatherBlockQuantized",
            inputs,
            list(lookup.output),
            lookup.name,
            domain="com.microsoft",
            bits=8,
            block_size=block,
            gather_axis=0,
            quantize_axis=1,
        )
    )
    place = list(graph.node).index(lookup)
    table = lookup.input[0]
    graph.node.remove(lookup)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)
    graph.initializer.append(flat)
    graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == table))


def packed_order(weight: str) -> int:
    """Where a weight lies in a matrix that holds several: q, k and v."""
    module = weight.split(".")[-2]
    return PACKED.index(module) if module in PACKED else 0


def find_node(graph: GraphProto, name: str) -> NodeProto:
    """The node of that name, whatever suffix its quantiser gave it.

    Raises:
        ExportError: there is none.
    """
    node: NodeProto
    for node in graph.node:
        if node.name == name or node.name.startswith(f"{name}_"):
            return node
    raise ExportError(
        f"onnxruntime-genai's builder wrote no {name}",
        hint="install a version of onnxruntime-genai that edgetune knows",
    )


def stamp(model: ModelProto, facts: Mapping[str, str]) -> None:
    """Store facts in the graph's metadata, under ``edgetune.``."""
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"edgetune.{key}", value


def save(model: ModelProto, path: Path, limit: int = SINGLE_FILE_BYTES) -> list[str]:
    """Write a graph as one file, or with its weights beside it where they are larger than ``limit`` bytes together.

    Returns:
        Names of the files written, the graph's first.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    # Not the size of the whole message: protobuf finds out by writing it, which fails where it is too large.
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= limit:
        onnx.save(model, path)
        return [path.name]
    # The name under which transformers.js looks for it.
    weights = f"{path.name}_data"
    # By hand: onnx.save with a location looks for a file of that name where the process happens to stand.
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= _SMALLEST_APART:
            set_external_data(tensor, weights)
    onnx.save(model, path)
    return [path.name, weights]
