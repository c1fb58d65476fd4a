"""Rotary positions: which scalings llama.cpp computes the same way, and what it wants to be told.

The formulas are transformers' (``modeling_rope_utils.py``); llama.cpp takes plain scaling and
YaRN as numbers, and the frequency-dependent factors of Llama 3 and LongRoPE as tensors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.models.text_config import ModelConfig, Rope

if TYPE_CHECKING:
    from gguf import GGUFWriter

#: Kinds that every architecture takes: they are numbers in the metadata.
PLAIN_KINDS = frozenset({"default", "linear"})

#: Settings of each kind that are written; others would be lost.
_SETTINGS = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
    "longrope": frozenset({"factor", "long_factor", "short_factor", "attention_factor"}),
    "yarn": frozenset({"factor", "beta_fast", "beta_slow", "attention_factor"}),
}
_HARMLESS = frozenset({"original_max_position_embeddings", "partial_rotary_factor"})


def rotary_dimensions(config: ModelConfig) -> int:
    """How many of a head's dimensions rotate."""
    return int(config.head_dim * config.rope.settings.get("partial_rotary_factor", 1.0))


def rope_problems(rope: Rope, kinds: frozenset[str], architecture: str) -> list[str]:
    """Why llama.cpp would rotate otherwise than the model; empty when it would not."""
    if rope.kind not in kinds or rope.kind not in _SETTINGS:
        return [f"rotary positions of type '{rope.kind}': llama.cpp's {architecture} knows {', '.join(sorted(kinds))}"]
    given = {key for key, value in rope.settings.items() if value is not None}
    lost = given - _SETTINGS[rope.kind] - _HARMLESS
    return [f"rotary setting '{key}' has no place in a GGUF" for key in sorted(lost)]


def add_rope(writer: GGUFWriter, config: ModelConfig) -> None:
    """Write base frequencies and scaling."""
    from gguf import RopeScalingType

    rope, settings = config.rope, config.rope.settings
    writer.add_rope_dimension_count(rotary_dimensions(config))
    writer.add_rope_freq_base(rope.theta)
    if config.local_rope is not None:
        writer.add_rope_freq_base_swa(config.local_rope.theta)
    if rope.kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(settings["factor"])
    elif rope.kind == "yarn":
        _add_yarn(writer, config)
    elif rope.kind == "longrope":
        writer.add_rope_scaling_orig_ctx_len(settings["original_max_position_embeddings"])
        writer.add_rope_scaling_attn_factors(_longrope_attention(config))


def _add_yarn(writer: GGUFWriter, config: ModelConfig) -> None:
    from gguf import RopeScalingType

    settings = config.rope.settings
    factor = settings["factor"]
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(factor)
    writer.add_rope_scaling_orig_ctx_len(settings.get("original_max_position_embeddings") or config.context)
    writer.add_rope_scaling_yarn_beta_fast(settings.get("beta_fast") or 32.0)
    writer.add_rope_scaling_yarn_beta_slow(settings.get("beta_slow") or 1.0)
    if (attention := settings.get("attention_factor")) is not None:
        # llama.cpp multiplies its own 1 + 0.1 ln(factor) by this.
        writer.add_rope_scaling_attn_factors(attention / (1.0 + 0.1 * math.log(factor)))


def _longrope_attention(config: ModelConfig) -> float:
    """Factor of cosine and sine (LongRoPE, 2024, arXiv 2402.13753, section 4)."""
    settings = config.rope.settings
    if (given := settings.get("attention_factor")) is not None:
        return float(given)
    original = settings["original_max_position_embeddings"]
    scale = settings.get("factor") or config.context / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def rope_tensors(config: ModelConfig) -> dict[str, NDArray[np.float32]]:
    """Frequency factors that go into the file as tensors: name → shape (rotary dimensions / 2,)."""
    settings = config.rope.settings
    if config.rope.kind == "llama3":
        return {"rope_freqs.weight": _llama3_factors(config.rope, rotary_dimensions(config))}
    if config.rope.kind == "longrope":
        return {
            f"rope_factors_{length}.weight": np.asarray(settings[f"{length}_factor"], dtype=np.float32)
            for length in ("long", "short")
        }
    return {}


def _llama3_factors(rope: Rope, dimensions: int) -> NDArray[np.float32]:
    """Divisors of the frequencies: 1 for short wavelengths, ``factor`` for long ones, smooth between."""
    settings: Any = rope.settings
    frequencies = rope.theta ** (-np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)
    turns = settings["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    factors: NDArray[np.float32] = (1.0 / ((1.0 - smooth) / settings["factor"] + smooth)).astype(np.float32)
    return factors
