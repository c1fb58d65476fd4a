"""A written graph beside what it should hold, tensor by tensor under transformers' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetune.adapters.merging import EMBEDDING, HEAD, MergedWeights
from edgetune.errors import ArtifactError
from edgetune.readback import TensorPair, Trained, Values
from edgetune_onnx.blocks import dequantise
from edgetune_onnx.graph import HEAD_NODE, PACKED, TABLE_NODE
from edgetune_onnx.places import place_inputs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

#: Tables of the rotary positions: computed from config.json, not trained.
_COMPUTED = frozenset({"cos_cache", "sin_cache"})
_FLOATS = {1: "F32", 10: "F16", 16: "BF16"}


@dataclass(frozen=True)
class Stored:
    """A tensor as the graph holds it.

    Attributes:
        type: ``F32``, ``F16``; ``INT4``, ``INT8``: blocks with a scale; ``UINT4``, ``UINT8``: with a zero point too.
        shape: rows first, as transformers has it.
        read: its values, float32.
        initializers: that it is made of.
    """

    type: str
    shape: tuple[int, ...]
    read: Callable[[], Values]
    initializers: frozenset[str]


class GraphFile:
    """One graph with its weights.

    Args:
        path: of the graph.
        heads: rows of q, k and v, which the builder packs into one matrix.

    Raises:
        ArtifactError: it cannot be read.
    """

    def __init__(self, path: Path, heads: Mapping[str, int]) -> None:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            self._model = onnx.load(path)
        except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ArtifactError(f"{path} is not an ONNX graph: {error}", hint="export it again") from error
        self._heads = heads
        self._initializers = {tensor.name: tensor for tensor in self._model.graph.initializer}

    @property
    def model(self) -> ModelProto:
        """All of it."""
        return self._model

    @property
    def facts(self) -> dict[str, str]:
        """Metadata of the graph."""
        return {entry.key: entry.value for entry in self._model.metadata_props}

    @cached_property
    def places(self) -> frozenset[str]:
        """Inputs that an adapter can give."""
        return frozenset(place_inputs(self._model))

    @cached_property
    def _nodes(self) -> dict[str, NodeProto]:
        """Nodes by name, without what a quantiser appended to it."""
        return {re.sub(r"(MatMul|Gather)(_|Block)\w+$", r"\1", node.name): node for node in self._model.graph.node}

    def tensor(self, name: str, *, tied: bool) -> Stored | None:
        """What stands for a tensor of the model; None: nothing does."""
        if name == HEAD or (name == EMBEDDING and tied):
            return self._matrix(HEAD_NODE)
        if name == EMBEDDING:
            return self._float(self._nodes[TABLE_NODE].input[0]) if TABLE_NODE in self._nodes else None
        found = re.fullmatch(r"model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+_proj)\.(weight|bias)", name)
        if found is None:
            return self._float(self._norm_name(name))
        layer, part, module, kind = found.groups()
        place = f"/model/layers.{layer}/{part.replace('self_attn', 'attn')}"
        get = self._matrix if kind == "weight" else self._bias
        return get(f"{place}/{module}/MatMul") or self._slice(get(f"{place}/qkv_proj/MatMul"), module)

    def shares_table(self) -> bool:
        """Whether the embedding looks up the head's own values."""
        if TABLE_NODE not in self._nodes or HEAD_NODE not in self._nodes:
            return False
        source = self._nodes[TABLE_NODE].input[0]
        producers = {output: node for node in self._model.graph.node for output in node.output}
        while source in producers:  # through a transposition or another shape
            source = producers[source].input[0]
        return bool(source == self._nodes[HEAD_NODE].input[1])

    def others(self, used: frozenset[str]) -> list[str]:
        """Float initializers that no tensor of the model accounts for."""
        return [
            name
            for name, tensor in self._initializers.items()
            if name not in used | _COMPUTED and tensor.data_type in _FLOATS and int(np.prod(tensor.dims)) > 1
        ]

    def _norm_name(self, name: str) -> str:
        if name == "model.norm.weight":
            return next((found for found in self._initializers if found.endswith(".final_norm_layernorm.weight")), "")
        return re.sub(r"self_attn\.([qk]_norm)", r"attn.\1.layernorm", name)

    def _float(self, name: str) -> Stored | None:
        tensor = self._initializers.get(name)
        if tensor is None or tensor.data_type not in _FLOATS:
            return None
        return Stored(_FLOATS[tensor.data_type], tuple(tensor.dims), partial(_values, tensor), frozenset({name}))

    def _bias(self, node: str) -> Stored | None:
        return self._float(node.removesuffix("/MatMul").removeprefix("/").replace("/", ".") + ".Add.bias")

    def _matrix(self, name: str) -> Stored | None:
        node = self._nodes.get(name)
        if node is None:
            return None
        if node.op_type == "MatMulNBits":
            return self._blocks(node)
        found = self._float(node.input[1]) if len(node.input) > 1 else None
        if found is None:
            return None
        return Stored(found.type, found.shape[::-1], lambda: found.read().T, found.initializers)

    def _blocks(self, node: NodeProto) -> Stored:
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        names = [name for name in node.input[1:4] if name]
        if lost := [name for name in names if name not in self._initializers] or ([] if len(names) > 1 else ["scales"]):
            raise ArtifactError(f"the graph has no values for {', '.join(lost)} of {node.name}", hint="export it again")
        tensors = [self._initializers[name] for name in names]
        signed = "INT" if len(tensors) == 2 else "UINT"
        return Stored(
            f"{signed}{settings['bits']}",
            (settings["N"], settings["K"]),
            partial(dequantise, tensors, settings["bits"], settings["K"]),
            frozenset(names),
        )

    def _slice(self, packed: Stored | None, module: str) -> Stored | None:
        """Rows of one of q, k and v."""
        if packed is None or module not in PACKED:
            return None
        before = PACKED[: PACKED.index(module)]
        start = sum(self._heads[one] for one in before)
        rows = slice(start, start + self._heads[module])
        shape = (self._heads[module], *packed.shape[1:])
        return Stored(packed.type, shape, lambda: packed.read()[rows], packed.initializers)


def tensor_pairs(
    file: GraphFile,
    weights: MergedWeights,
    tuned: Mapping[str, Any],
    *,
    tied: bool,
    rounding: Callable[[str], Callable[[Values], Values] | None] = lambda _: None,
) -> Iterator[TensorPair]:
    """Every tensor that the graph has or should have.

    Args:
        file: the artifact's graph.
        weights: of the model.
        tuned: the trained model's own tensors.
        tied: head and embedding are one tensor.
        rounding: of a tensor by name: rounds its rows as the file's were; None where that cannot be repeated.
    """
    used: set[str] = set()
    for name in model_tensors(weights, tied=tied):
        found = file.tensor(name, tied=tied)
        used |= found.initializers if found else set()
        yield replace(_pair(name, found, weights, tuned), rounded=rounding(name))
    if tied and not file.shares_table():
        yield TensorPair(
            EMBEDDING, "", problem="the embedding is not the head's table, where the model has one for both"
        )
    for name in file.others(frozenset(used)):
        yield TensorPair(name, "", problem="the trained model has no such tensor")


def model_tensors(weights: MergedWeights, *, tied: bool) -> list[str]:
    """The model's tensors that a graph must hold."""
    return [
        name for name in weights.tensors if not (tied and name == HEAD) and not name.endswith("rotary_emb.inv_freq")
    ]


def _pair(name: str, found: Stored | None, weights: MergedWeights, tuned: Mapping[str, Any]) -> TensorPair:
    if found is None:
        return TensorPair(name, "", problem="missing")
    shape = weights.tensors[name].shape
    if found.shape != shape:
        return TensorPair(name, found.type, problem=f"shape {found.shape}, not {shape}")

    def trained() -> Trained:
        return weights.read_parts(name, tuned)

    return TensorPair(name, found.type, found.read, trained)


def _values(tensor: TensorProto) -> Values:
    from onnx import numpy_helper

    values: Values = numpy_helper.to_array(tensor).astype(np.float32)
    return values
