"""What an ONNX folder costs, from its graph and genai_config.json."""

from __future__ import annotations

import math

from edgetune.artifact import Artifact
from edgetune.devices.footprint import Footprint
from edgetune.devices.protobuf import Graph, Initializer, Node, read_graph
from edgetune.errors import ArtifactError
from edgetune.runtimes import require_generating
from edgetune.runtimes.onnx_folder import open_folder

#: Pass a table on without reading it.
_PASSING = frozenset({"Reshape", "Transpose", "Identity", "Unsqueeze", "Squeeze"})
#: Of Gather and GatherBlockQuantized, which input is whole rows of a table: codes, and of the latter scales.
_INDICES = 1


def read_onnx(artifact: Artifact) -> Footprint:
    """Look at the stored tensors and how they are used.

    Raises:
        ArtifactError: a file is missing or damaged, or genai_config.json lacks a shape.
    """
    require_generating(artifact)
    folder = open_folder(artifact)
    graph = read_graph(folder.graph)
    sizes = {name: _bytes(tensor) for name, tensor in graph.initializers.items()}
    looked_up = _looked_up(graph)
    read = sum(size for name, size in sizes.items() if name not in looked_up)
    try:
        decoder = folder.genai["model"]["decoder"]
        pairs = 2 * decoder["num_key_value_heads"] * decoder["head_size"] * decoder["num_hidden_layers"]
        width = int(decoder["hidden_size"])
        vocabulary = int(folder.genai["model"]["vocab_size"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{artifact.path}/genai_config.json lacks {error}", hint="export it again") from error
    return Footprint(
        name=artifact.name,
        runtime=artifact.runtime,
        weights_bytes=sum(sizes.values()),
        read_bytes=read + sum(sizes[name] for name in looked_up) // vocabulary,
        read_weights=_weights(graph, looked_up),
        cache_values=int(pairs),
        cache_type="f16" if _cache_bits(graph) == 16 else "f32",
        trained_context=folder.trained_context,
        vocabulary=vocabulary,
        width=width,
        inner=0,
    )


def _bytes(tensor: Initializer) -> int:
    return -(-math.prod(tensor.shape) * tensor.bits // 8)


def _weights(graph: Graph, looked_up: set[str]) -> int:
    """Numbers multiplied for one token; a byte of 4-bit codes holds two of them."""
    packed = {node.inputs[1]: node.attributes.get("bits", 8) for node in graph.nodes if node.kind == "MatMulNBits"}
    kept = {name: tensor for name, tensor in graph.initializers.items() if name not in looked_up}
    return sum(math.prod(tensor.shape) * 8 // packed.get(name, 8) for name, tensor in kept.items())


def _cache_bits(graph: Graph) -> int:
    return next((bits for name, bits in graph.input_bits.items() if "past" in name or "cache" in name), 32)


def _looked_up(graph: Graph) -> set[str]:
    """Stored tensors of which only rows are read: every use of theirs is a lookup, directly or through a reshape."""
    uses: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            uses.setdefault(name, []).append(node)

    def only_looked_up(name: str) -> bool:
        nodes = uses.get(name, [])
        return bool(nodes) and all(_is_lookup(node, name) or _passes(node, name) for node in nodes)

    def _passes(node: Node, name: str) -> bool:
        return node.kind in _PASSING and node.inputs[0] == name and all(only_looked_up(out) for out in node.outputs)

    return {name for name, tensor in graph.initializers.items() if len(tensor.shape) > 1 and only_looked_up(name)}


def _is_lookup(node: Node, name: str) -> bool:
    return node.kind.startswith("Gather") and name in (*node.inputs[:_INDICES], *node.inputs[_INDICES + 1 :])
