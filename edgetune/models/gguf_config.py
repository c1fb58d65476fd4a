"""GGUF metadata → the config.json of transformers, for the architectures edgetune can also export.

Key meanings are llama.cpp's (``src/models/*.cpp``); names on the right are transformers'. What a GGUF
does not say but llama.cpp assumes (Gemma's attention scale, SmolLM3's layers without rotary
positions) is assumed the same way here, so both compute the same function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ModelError
from edgetune.models.gguf_file import GgufFile

Config = dict[str, Any]

#: Position factors lie in tensors in a GGUF and in config.json in transformers.
ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


@dataclass(frozen=True)
class Architecture:
    """How one llama.cpp architecture looks in transformers.

    Attributes:
        model_type: in config.json.
        model_class: ``architectures`` in config.json.
        permuted: query and key rows are interleaved for llama.cpp's rotary positions.
        norm_plus_one: norms are stored with one added.
        more: settings beyond the common ones.
    """

    model_type: str
    model_class: str
    permuted: bool = False
    norm_plus_one: bool = False
    more: Callable[[GgufFile], Config] = lambda _: {}


def _llama(file: GgufFile) -> Config:
    return {"attention_bias": "blk.0.attn_q.bias" in file.tensors, "mlp_bias": "blk.0.ffn_up.bias" in file.tensors}


def _qwen2(_: GgufFile) -> Config:
    return {"use_sliding_window": False}


def _gemma(file: GgufFile, layers_of_27b: int) -> Config:
    heads, hidden = file.setting("attention.head_count"), file.setting("embedding_length")
    narrow = file.setting("block_count") == layers_of_27b
    return {
        "query_pre_attn_scalar": hidden // heads if narrow else file.setting("attention.key_length"),
        "sliding_window": file.setting("attention.sliding_window"),
        "hidden_activation": "gelu_pytorch_tanh",
    }


def _gemma2(file: GgufFile) -> Config:
    caps = ("attn_logit_softcapping", "final_logit_softcapping")  # llama.cpp's defaults where the file has none
    defaults = dict(zip(caps, (50.0, 30.0), strict=True))
    return _gemma(file, 46) | {cap: _short(file.setting(cap, default)) for cap, default in defaults.items()}


def _gemma3(file: GgufFile) -> Config:
    window, pattern = file.setting("attention.sliding_window"), file.setting("attention.sliding_window_pattern", 6)
    slides = pattern if isinstance(pattern, list) else [bool((i + 1) % pattern) for i in range(_layers(file))]
    return _gemma(file, 62) | {
        "rope_local_base_freq": _short(file.setting("rope.freq_base_swa", 10000.0)),
        "layer_types": ["sliding_attention" if window and yes else "full_attention" for yes in slides],
        "final_logit_softcapping": _short(cap) if (cap := file.setting("final_logit_softcapping")) else None,
    }


def _layers(file: GgufFile) -> int:
    return int(file.setting("block_count"))


def _phi3(file: GgufFile) -> Config:
    rotary, head = file.setting("rope.dimension_count"), _head_dim(file)
    return {
        "sliding_window": file.setting("attention.sliding_window") or None,
        "partial_rotary_factor": rotary / head if rotary else 1.0,
        "original_max_position_embeddings": file.setting("rope.scaling.original_context_length")
        or file.setting("context_length"),
    }


def _smollm3(_: GgufFile) -> Config:
    return {"no_rope_layer_interval": 4, "use_sliding_window": False}


def _granite(file: GgufFile) -> Config:
    names = {
        "embedding_multiplier": "embedding_scale",
        "residual_multiplier": "residual_scale",
        "attention_multiplier": "attention.scale",
        "logits_scaling": "logit_scale",
    }
    return {ours: _short(file.setting(theirs)) for ours, theirs in names.items() if file.setting(theirs) is not None}


def _olmo2(file: GgufFile) -> Config:
    if file.setting("attention.sliding_window"):
        raise ModelError(
            f"{file.path} is an OLMo 3 model, which cannot be a base here", hint="use its safetensors folder instead"
        )
    return {}


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", "LlamaForCausalLM", permuted=True, more=_llama),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", more=_qwen2),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM"),
    "gemma2": Architecture("gemma2", "Gemma2ForCausalLM", norm_plus_one=True, more=_gemma2),
    "gemma3": Architecture("gemma3_text", "Gemma3ForCausalLM", norm_plus_one=True, more=_gemma3),
    "phi3": Architecture("phi3", "Phi3ForCausalLM", more=_phi3),
    "smollm3": Architecture("smollm3", "SmolLM3ForCausalLM", permuted=True, more=_smollm3),
    "granite": Architecture("granite", "GraniteForCausalLM", permuted=True, more=_granite),
    "olmo2": Architecture("olmo2", "Olmo2ForCausalLM", more=_olmo2),
}


def architecture_of(file: GgufFile) -> Architecture:
    """The file's architecture.

    Raises:
        ModelError: it is not one of those known, or it is a mixture of experts.
    """
    found = ARCHITECTURES.get(file.architecture)
    if found is None or file.setting("expert_count"):
        kind = f"{file.architecture} with experts" if found else file.architecture
        raise ModelError(
            f"{file.path} has the architecture '{kind}', which cannot be a base",
            hint=f"known: {', '.join(ARCHITECTURES)}; or give the model's safetensors folder",
        )
    return found


def config_from_gguf(file: GgufFile) -> Config:
    """The content of config.json, weights left out.

    Raises:
        ModelError: unknown architecture, a setting is missing, or positions are scaled in an unknown way.
    """
    architecture = architecture_of(file)
    required = ("block_count", "embedding_length", "attention.head_count", "feed_forward_length", "context_length")
    missing = [f"{file.architecture}.{key}" for key in required if file.setting(key) is None]
    if missing or "token_embd.weight" not in file.tensors:
        raise ModelError(
            f"{file.path} lacks settings that a model needs",
            hint="it may hold a vocabulary or an adapter only; give the whole model",
            problems=missing or ["token_embd.weight"],
        )
    return {
        "architectures": [architecture.model_class],
        "model_type": architecture.model_type,
        **_common(file),
        **_positions(file),
        **architecture.more(file),
    }


def _common(file: GgufFile) -> Config:
    heads = file.setting("attention.head_count")
    tokens = {
        ours: file.metadata.get(f"tokenizer.ggml.{theirs}")
        for ours, theirs in (
            ("bos_token_id", "bos_token_id"),
            ("eos_token_id", "eos_token_id"),
            ("pad_token_id", "padding_token_id"),
        )
    }
    return {
        "hidden_size": file.setting("embedding_length"),
        "intermediate_size": file.setting("feed_forward_length"),
        "num_hidden_layers": file.setting("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": file.setting("attention.head_count_kv", heads),
        "head_dim": _head_dim(file),
        "max_position_embeddings": file.setting("context_length"),
        "rms_norm_eps": _short(file.setting("attention.layer_norm_rms_epsilon", 1e-6)),
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        **tokens,
    }


def _head_dim(file: GgufFile) -> int:
    width = file.setting("embedding_length") // file.setting("attention.head_count")
    return int(file.setting("attention.key_length") or width)


def _positions(file: GgufFile) -> Config:
    theta = _short(file.setting("rope.freq_base", 10000.0))
    kind, factor = file.setting("rope.scaling.type"), file.setting("rope.scaling.factor")
    scaling: Config | None = None
    if "rope_freqs.weight" in file.tensors:
        scaling = _llama3(file, theta)
    elif "rope_factors_long.weight" in file.tensors:
        parts = {"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"}
        scaling = {"rope_type": "longrope"} | {key: _shorts(file.values(name)) for key, name in parts.items()}
    elif kind in ("linear", "yarn"):
        scaling = {"rope_type": kind, "factor": _short(factor)}
        original = file.setting("rope.scaling.original_context_length")
        scaling |= {"original_max_position_embeddings": original} if original else {}
    elif kind not in (None, "none"):
        raise ModelError(f"{file.path} scales positions by '{kind}', which is not known", hint=_FOLDER)
    return {"rope_theta": theta, "rope_scaling": scaling}


_FOLDER = "give the model's safetensors folder instead"


def _llama3(file: GgufFile, theta: float) -> Config:
    """Recover Llama 3's scaling, of which the GGUF stores only the resulting factor of each frequency.

    The rule is Meta's (Llama 3.1): factor 1 below a quarter of the original context, the full factor
    beyond it, smooth between. It is recovered only if it reproduces the stored factors.
    """
    stored = file.values("rope_freqs.weight")
    for original in (8192, 4096, 2048, 16384, 32768):
        factor = round(float(stored.max()), 3)
        found = llama3_factors(theta, 2 * stored.size, factor, original)
        if np.allclose(found, stored, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": original,
            }
    raise ModelError(f"{file.path} scales positions by a table that matches no known rule", hint=_FOLDER)


def llama3_factors(theta: float, dimensions: int, factor: float, original: int) -> NDArray[np.float64]:
    """By how much Llama 3.1's rule slows each rotary frequency: shape (dimensions / 2,)."""
    frequencies = theta ** (-np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)
    turns = original * frequencies / (2 * math.pi)  # full turns within the original context
    smooth = (np.clip(turns, 1.0, 4.0) - 1.0) / 3.0
    return 1.0 / ((1.0 - smooth) / factor + smooth)


def _short(value: Any) -> float:
    """A float32 written with the fewest digits that name it: 9.99999975e-06 is 1e-05."""
    return float(str(np.float32(value)))


def _shorts(values: NDArray[np.float32]) -> list[float]:
    return [float(str(value)) for value in values]
