"""What a graph computes besides its weights, against config.json and the precision: attention, norms, rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.models.text_config import ModelConfig
from edgetune_onnx.precision import Precision

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

COS, SIN = "cos_cache", "sin_cache"
#: How far a table's value may be off, in half or single floats; and for every position, single floats having 24 bits.
_TABLE, _PER_POSITION = 1e-3, 2e-7


def attribute_problems(graph: ModelProto, config: ModelConfig, precision: Precision) -> list[str]:
    """Settings of nodes that are not those of the model or of the precision; one line for each kind."""
    found: dict[str, int] = {}
    for node in graph.graph.node:
        own = {attribute.name: attribute_value(attribute) for attribute in node.attribute}
        for name, allowed in _expected(node, config, precision, own).items():
            if not any(_alike(own.get(name, 0), value) for value in allowed):
                line = f"{node.op_type}: {name} is {own.get(name, 0)}, should be {allowed[0]}"
                found[line] = found.get(line, 0) + 1
    return [f"the graph's {line} ({count} nodes)" for line, count in found.items()]


def _expected(
    node: NodeProto, config: ModelConfig, precision: Precision, own: Mapping[str, Any]
) -> dict[str, tuple[Any, ...]]:
    """Attribute → values that it may have, the usual one first."""
    kind = str(node.op_type)
    if kind.endswith("LayerNormalization"):
        return {"epsilon": (config.norm_epsilon,)}
    if kind == "MatMulNBits":
        return {"block_size": (precision.block,), "accuracy_level": (precision.accuracy,)}
    if kind == "GatherBlockQuantized":
        return {"block_size": (precision.block,)}
    if kind != "GroupQueryAttention":
        return {}
    scale = config.raw.get("attention_multiplier") or 1 / math.sqrt(config.head_dim)
    # A window as long as the context, or longer, is none.
    windows = (-1, *((config.window,) if config.window else ()))
    heads = {"num_heads": (config.heads,), "kv_num_heads": (config.kv_heads,)}
    known = {"scale": (scale,), "local_window_size": windows, "do_rotary": (1,), **heads}
    # Whatever else there is means something other than plain attention, if it is not 0.
    plain = {name: (0, -1) if name == "smooth_softmax" else (0,) for name in own if name not in known}
    return {**known, **plain}


def table_problems(graph: ModelProto, config: ModelConfig) -> list[str]:
    """Tables of the rotary positions that are not what config.json makes of every position."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.name in (COS, SIN)}
    angles = np.outer(np.arange(config.context, dtype=np.float64), _frequencies(config))
    problems = []
    for name, right in ((COS, np.cos(angles)), (SIN, np.sin(angles))):
        if name not in stored:
            problems.append(f"the graph has no {name}")
            continue
        found = numpy_helper.to_array(stored[name]).astype(np.float64)
        if found.shape != right.shape:
            problems.append(f"{name} has shape {found.shape}, not {right.shape}")
            continue
        allowed = _TABLE + _PER_POSITION * np.arange(len(found))
        wrong = ~(np.abs(found - right).max(axis=1) <= allowed)
        if wrong.any():
            problems.append(f"{name} is wrong at {int(wrong.sum())} positions, from {int(wrong.argmax())} on")
    return problems


def _frequencies(config: ModelConfig) -> NDArray[np.float64]:
    """Of each pair of dimensions, radians a position; Llama 3's scaling as in transformers' ``modeling_rope_utils``."""
    plain: NDArray[np.float64] = config.rope.theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    if config.rope.kind != "llama3":
        return plain
    settings = config.rope.settings
    factor, low, high = (float(settings[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = float(settings.get("original_max_position_embeddings") or config.context) * plain / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    scaled: NDArray[np.float64] = plain * (smooth + (1 - smooth) / factor)
    return scaled


def attribute_value(attribute: Any) -> Any:
    """What an attribute of a node holds."""
    from onnx import helper

    return helper.get_attribute_value(attribute)


def _alike(found: Any, wanted: Any) -> bool:
    return math.isclose(found, wanted, rel_tol=1e-6) if isinstance(found, int | float) else bool(found == wanted)
