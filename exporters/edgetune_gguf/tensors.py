"""From the model's tensors to those of the file: names, shapes, order of rows, completeness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.adapters.merging import EMBEDDING, HEAD, MergedWeights, RowReader
from edgetune.errors import ExportError
from edgetune.models.text_config import ModelConfig
from edgetune.readback import Trained
from edgetune_gguf.architectures import Architecture
from edgetune_gguf.rope import rope_tensors

Values = NDArray[np.float32]
FINAL_NORM = "model.norm.weight"


@dataclass(frozen=True)
class Rows:
    """A matrix that can be made a few rows at a time.

    Attributes:
        open: gives what makes rows; called when the tensor's turn comes.
        unit: rows come in multiples of it.
        working_bytes: memory that a row needs while it is made, the result included.
    """

    open: Callable[[], RowReader]
    unit: int
    working_bytes: int


@dataclass(frozen=True)
class FileTensor:
    """One tensor of the file.

    Attributes:
        name: llama.cpp's.
        shape: rows first.
        make: reads and transforms the values: float32, of that shape.
        working_bytes: memory that :attr:`make` needs at its peak, its result included.
        parts: from the tensors of a trained model, what this one should hold and what that is made of, transformed
            alike; None: the tensor is not one of the model's own.
        rows: the same values a few rows at a time; None: all at once only.
    """

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Values]
    working_bytes: int
    parts: Callable[[Mapping[str, Any]], Trained] | None = None
    rows: Rows | None = None

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Maker:
    """What all tensors of a file are made from."""

    architecture: Architecture
    config: ModelConfig
    weights: MergedWeights


def file_tensors(architecture: Architecture, config: ModelConfig, weights: MergedWeights) -> list[FileTensor]:
    """Every tensor of the file in llama.cpp's own order: whole-model tensors, then layer by layer.

    Raises:
        ExportError: tensors are missing, have other shapes than config.json says, or have no
            place in llama.cpp; all of them are in ``problems``.
    """
    head = _head_source(architecture, config, weights)
    wanted = expected_shapes(architecture, config, weights.tensors)
    if head == HEAD:
        wanted[HEAD] = wanted[EMBEDDING]
    _require(wanted, weights)
    names = file_names(architecture, config)
    maker = _Maker(architecture, config, weights)
    tensors = [_tensor(names[name], name, shape, maker) for name, shape in wanted.items()]
    if head == EMBEDDING:
        tensors.append(_tensor(names[HEAD], EMBEDDING, wanted[EMBEDDING], maker))
    tensors += [
        FileTensor(name, values.shape, lambda values=values: values, values.nbytes)  # type: ignore[misc]
        for name, values in rope_tensors(config).items()
    ]
    return sorted(tensors, key=lambda tensor: layer_order(tensor.name))


def layer_order(name: str) -> tuple[int, str]:
    """Sort key: llama.cpp walks tensors by layer, then by name."""
    parts = name.split(".")
    return (int(parts[1]) if parts[0] == "blk" else -1, name)


def expected_shapes(
    architecture: Architecture, config: ModelConfig, present: Mapping[str, object]
) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor but the head that config.json promises, by transformers' name.

    A bias is expected when config.json asks for it, and accepted where llama.cpp has a place for it.
    """
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.vocabulary, config.hidden),
        FINAL_NORM: (config.hidden,),
    }
    parts = _part_shapes(architecture, config)
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}"
        for part in architecture.parts:
            shapes[f"{prefix}.{part}.weight"] = parts[part]
        for part in architecture.biases:
            if f"{prefix}.{part}.bias" in present or _has_bias(part, config):
                shapes[f"{prefix}.{part}.bias"] = parts[part][:1]
    return shapes


def _has_bias(part: str, config: ModelConfig) -> bool:
    if part.startswith("mlp."):
        return bool(config.raw.get("mlp_bias"))
    return bool(config.raw.get("attention_bias")) or config.architecture == "Qwen2ForCausalLM"


def _part_shapes(architecture: Architecture, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    hidden, inner = config.hidden, config.intermediate
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    whole_norms = architecture.name == "olmo2"  # norms the whole projection; the others head by head
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.qkv_proj": (query + 2 * key, hidden),
        "self_attn.o_proj": (hidden, query),
        "self_attn.q_norm": (query if whole_norms else config.head_dim,),
        "self_attn.k_norm": (key if whole_norms else config.head_dim,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.gate_up_proj": (2 * inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    return shapes | {part: (hidden,) for part in architecture.parts if part.endswith("layernorm")}


def _head_source(architecture: Architecture, config: ModelConfig, weights: MergedWeights) -> str | None:
    """Tensor that becomes the file's own output tensor; None when head and embedding are one.

    Raises:
        ExportError: config.json and the tensors disagree, or llama.cpp cannot hold a head of its own.
    """
    own = HEAD in weights.tensors
    if own and config.tied and not weights.unties_head:
        if not weights.same_in_base(HEAD, EMBEDDING):
            raise ExportError(
                "config.json says tie_word_embeddings, yet lm_head.weight differs from the embedding",
                hint="set tie_word_embeddings to what is true in the base's config.json",
            )
        own = bool({HEAD, EMBEDDING} & weights.changed)
    if own and architecture.head == "tied":
        raise ExportError(
            f"llama.cpp's {architecture.name} has no output tensor of its own, and this model's head "
            "differs from its embedding",
            hint="train without an adapter on lm_head and embed_tokens",
        )
    if own or not config.tied:
        return HEAD
    return EMBEDDING if architecture.head == "own" else None


def _require(wanted: Mapping[str, tuple[int, ...]], weights: MergedWeights) -> None:
    present = weights.tensors
    problems = []
    for name, shape in wanted.items():
        if name not in present:
            problems.append(f"{name} is missing")
        elif present[name].shape != shape:
            problems.append(f"{name} has shape {present[name].shape} where config.json says {shape}")
    ignored = {HEAD, *(name for name in present if name.endswith("rotary_emb.inv_freq"))}
    problems += [f"{name} has no place in llama.cpp's tensors" for name in present if name not in {*wanted, *ignored}]
    if problems:
        raise ExportError(
            f"the weights in {weights.base_folder} do not fit their config.json: {problems[0]}",
            hint="fetch the model again, or correct its config.json",
            problems=problems,
        )


def file_names(architecture: Architecture, config: ModelConfig) -> dict[str, str]:
    """From transformers' name to llama.cpp's, for every tensor a model of this family may have."""
    import gguf

    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = gguf.get_tensor_name_map(kind, config.layers)
    modules = ["model.embed_tokens", "model.norm", "lm_head"]
    modules += [f"model.layers.{n}.{part}" for n in range(config.layers) for part in architecture.parts]
    return {
        f"{module}.{suffix}": f"{names.get_name(module)}.{suffix}"
        for module in modules
        for suffix in ("weight", "bias")
    }


def _tensor(name: str, source: str, shape: tuple[int, ...], maker: _Maker) -> FileTensor:
    transform = _transform(source, maker.architecture, maker.config)
    working = maker.weights.working_bytes(source) + (4 * math.prod(shape) if transform else 0)

    def make() -> Values:
        values = maker.weights.read(source)
        return transform(values) if transform else values

    def parts(tuned: Mapping[str, Any]) -> Trained:
        found = maker.weights.read_parts(source, tuned)
        if transform is None:
            return found
        rest = (None if values is None else transform(values) for values in (found.beneath, found.unrounded))
        return Trained(transform(found.tuned), *rest)

    return FileTensor(name, shape, make, working, parts, _rows(source, maker))


def _rows(source: str, maker: _Maker) -> Rows | None:
    weights, width = maker.weights, _head_rows(source, maker.architecture, maker.config)
    if not weights.reads_rows(source):
        return None

    def opened() -> RowReader:
        read = weights.open_rows(source)
        return (lambda start, stop: _interleave(read(start, stop), width)) if width else read

    columns = weights.tensors[source].shape[1]
    return Rows(opened, width or 1, weights.row_bytes(source) + (4 * columns if width else 0))


def _transform(source: str, architecture: Architecture, config: ModelConfig) -> Callable[[Values], Values] | None:
    if architecture.norm_plus_one and source.endswith("norm.weight"):
        return _plus_one
    return row_order(source, architecture, config)


def row_order(source: str, architecture: Architecture, config: ModelConfig) -> Callable[[Values], Values] | None:
    """What puts the rows of a weight into llama.cpp's order; None where they stay."""
    width = _head_rows(source, architecture, config)
    return (lambda values: _interleave(values, width)) if width else None


def _head_rows(source: str, architecture: Architecture, config: ModelConfig) -> int:
    """Rows of a head, where llama.cpp wants them in another order; 0 where they stay."""
    reordered = architecture.permuted and source.rpartition(".")[0].endswith(("q_proj", "k_proj"))
    return config.head_dim if reordered else 0


def _plus_one(values: Values) -> Values:
    return values + np.float32(1)


def _interleave(values: Values, width: int) -> Values:
    """Rows of each head, ``width`` of them, from (first half, second half) to pairs: llama.cpp rotates neighbours."""
    halves = values.reshape(-1, 2, width // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
