"""The model families that can be written, and what is special about each in llama.cpp.

Meanings were read in llama.cpp's ``src/models/*.cpp`` and transformers' ``modeling_*.py``.
Where llama.cpp has a value built in, the model's own must agree, or the export is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgetune.errors import ExportError
from edgetune.models.text_config import ModelConfig
from edgetune_gguf.rope import PLAIN_KINDS, add_rope, rope_problems

if TYPE_CHECKING:
    from gguf import GGUFWriter

_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_FEED_FORWARD = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_PRE_NORMS = ("input_layernorm", "post_attention_layernorm")
_HEAD_NORMS = ("self_attn.q_norm", "self_attn.k_norm")
_GEMMA_NORMS = (*_PRE_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")
_PLAIN_LAYER = (*_ATTENTION, *_FEED_FORWARD, *_PRE_NORMS)
_QKV = _ATTENTION[:3]

Config = ModelConfig
Adder = Callable[["GGUFWriter", ModelConfig], None]
Checker = Callable[[ModelConfig], list[str]]


def _nothing(writer: GGUFWriter, config: ModelConfig) -> None:
    """No keys beyond the common ones."""


def _no_problem(_: ModelConfig) -> list[str]:
    return []


@dataclass(frozen=True)
class Architecture:
    """One family.

    Attributes:
        name: llama.cpp's name of it.
        parts: modules of a layer whose weights must be there.
        biases: modules that may have a bias.
        activation: of the feed-forward part.
        permuted: llama.cpp rotates neighbouring dimensions, so rows of q and k are reordered.
        norm_plus_one: the model multiplies by 1 + weight.
        wide_heads: head size may differ from hidden / heads.
        partial_rotary: only a share of a head may rotate.
        ropes: types of rotary scaling.
        head: ``any``; ``tied``: llama.cpp has no tensor for an output of its own; ``own``: it insists on one.
        windowed: llama.cpp applies the sliding window; without it, only contexts within the window are exact.
        add: writes further metadata.
        check: finds what llama.cpp would compute otherwise.
    """

    name: str
    parts: tuple[str, ...] = _PLAIN_LAYER
    biases: tuple[str, ...] = ()
    activation: str = "silu"
    permuted: bool = False
    norm_plus_one: bool = False
    wide_heads: bool = True
    partial_rotary: bool = False
    ropes: frozenset[str] = PLAIN_KINDS | {"yarn"}
    head: Literal["any", "tied", "own"] = "any"
    windowed: bool = False
    add: Adder = _nothing
    check: Checker = _no_problem


def _check_gemma(config: ModelConfig, wide_layers: int) -> list[str]:
    """llama.cpp scales attention by head size, but by hidden / heads for the 27B (known by its layer count)."""
    built_in = config.hidden // config.heads if config.layers == wide_layers else config.head_dim
    scalar = config.raw.get("query_pre_attn_scalar")
    return [] if scalar == built_in else [f"query_pre_attn_scalar {scalar}: llama.cpp has {built_in} built in"]


def _check_gemma2(config: ModelConfig) -> list[str]:
    problems = _check_gemma(config, 46)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if not config.raw.get(key):
            problems.append(f"{key} is off: llama.cpp's gemma2 always caps")
    return problems + _check_pattern(config, 2)


def _add_gemma2(writer: GGUFWriter, config: ModelConfig) -> None:
    writer.add_attn_logit_softcapping(config.raw["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config.raw["final_logit_softcapping"])
    if config.window:
        writer.add_sliding_window(config.window)


def _check_pattern(config: ModelConfig, period: int) -> list[str]:
    """Every ``period``-th layer has full attention, unless the file says otherwise."""
    expected = tuple(
        "full_attention" if (layer + 1) % period == 0 else "sliding_attention" for layer in range(config.layers)
    )
    if config.window is None or not config.layer_types or config.layer_types == expected:
        return []
    return [f"layer_types: llama.cpp expects full attention in every {period}th layer only"]


def _check_gemma3(config: ModelConfig) -> list[str]:
    problems = _check_gemma(config, 62)
    if config.raw.get("attn_logit_softcapping"):
        problems.append("attn_logit_softcapping: llama.cpp's gemma3 has none")
    if config.raw.get("use_bidirectional_attention"):
        problems.append("use_bidirectional_attention: only causal models can be exported")
    if config.local_rope is not None and config.local_rope.kind != "default":
        problems.append(f"rotary scaling '{config.local_rope.kind}' in sliding layers: llama.cpp has none there")
    return problems


def _add_gemma3(writer: GGUFWriter, config: ModelConfig) -> None:
    if config.raw.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config.raw["final_logit_softcapping"])
    if config.window:
        writer.add_sliding_window(config.window)
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])


def _check_smollm3(config: ModelConfig) -> list[str]:
    expected = [int((layer + 1) % 4 != 0) for layer in range(config.layers)]
    if config.raw.get("no_rope_layers") == expected:
        return []
    return ["no_rope_layers: llama.cpp leaves rotary positions out of every 4th layer, this model of others"]


def _add_granite(writer: GGUFWriter, config: ModelConfig) -> None:
    writer.add_attention_scale(config.raw["attention_multiplier"])
    writer.add_embedding_scale(config.raw["embedding_multiplier"])
    writer.add_residual_scale(config.raw["residual_multiplier"])
    writer.add_logit_scale(config.raw["logits_scaling"])


_LLAMA = Architecture(
    "llama", biases=(*_ATTENTION, *_FEED_FORWARD), permuted=True, ropes=PLAIN_KINDS | {"llama3", "yarn"}
)
_GEMMA_ROPES = PLAIN_KINDS

#: Class name in config.json → family.
ARCHITECTURES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Architecture("qwen2", biases=_QKV, wide_heads=False),
    "Qwen3ForCausalLM": Architecture("qwen3", parts=(*_PLAIN_LAYER, *_HEAD_NORMS), biases=_QKV),
    "Gemma2ForCausalLM": Architecture(
        "gemma2",
        parts=(*_ATTENTION, *_FEED_FORWARD, *_GEMMA_NORMS),
        biases=_QKV,
        activation="gelu_pytorch_tanh",
        norm_plus_one=True,
        ropes=_GEMMA_ROPES,
        head="tied",
        windowed=True,
        add=_add_gemma2,
        check=_check_gemma2,
    ),
    "Gemma3ForCausalLM": Architecture(
        "gemma3",
        parts=(*_ATTENTION, *_FEED_FORWARD, *_GEMMA_NORMS, *_HEAD_NORMS),
        biases=_QKV,
        activation="gelu_pytorch_tanh",
        norm_plus_one=True,
        ropes=_GEMMA_ROPES,
        windowed=True,
        add=_add_gemma3,
        check=_check_gemma3,
    ),
    "Phi3ForCausalLM": Architecture(
        "phi3",
        parts=("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj", *_PRE_NORMS),
        wide_heads=False,
        partial_rotary=True,
        ropes=PLAIN_KINDS | {"longrope"},
    ),
    "SmolLM3ForCausalLM": Architecture("smollm3", biases=_QKV, permuted=True, check=_check_smollm3),
    "GraniteForCausalLM": Architecture(
        "granite",
        biases=(*_ATTENTION, *_FEED_FORWARD),
        permuted=True,
        wide_heads=False,
        ropes=PLAIN_KINDS | {"llama3", "yarn"},
        add=_add_granite,
    ),
    "Olmo2ForCausalLM": Architecture(
        "olmo2",
        parts=(*_ATTENTION, *_FEED_FORWARD, "post_attention_layernorm", "post_feedforward_layernorm", *_HEAD_NORMS),
        biases=_QKV,
        wide_heads=False,
        head="own",
    ),
}


def find_architecture(name: str) -> Architecture:
    """The family of a model class.

    Raises:
        ExportError: it cannot be exported; the message lists those that can.
    """
    if name not in ARCHITECTURES:
        raise ExportError(
            f"the GGUF exporter does not know the architecture {name}", hint=f"it knows: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def config_problems(architecture: Architecture, config: ModelConfig) -> list[str]:
    """Everything in config.json that llama.cpp would compute otherwise."""
    problems = rope_problems(config.rope, architecture.ropes, architecture.name) + architecture.check(config)
    if config.activation != architecture.activation:
        problems.append(
            f"activation {config.activation}: llama.cpp's {architecture.name} has {architecture.activation}"
        )
    if not architecture.wide_heads and config.heads * config.head_dim != config.hidden:
        problems.append(f"head_dim {config.head_dim}: llama.cpp's {architecture.name} needs hidden_size / heads")
    if config.rope.settings.get("partial_rotary_factor", 1.0) != 1.0 and not architecture.partial_rotary:
        problems.append(f"partial_rotary_factor: llama.cpp's {architecture.name} rotates whole heads")
    return problems


def usable_context(architecture: Architecture, config: ModelConfig) -> tuple[int, str | None]:
    """Longest context in which llama.cpp computes what the model computes, and why it is shorter."""
    if config.window and not architecture.windowed and config.window < config.context:
        reason = (
            f"context length {config.window} instead of {config.context}: "
            f"llama.cpp's {architecture.name} has no sliding window, and within {config.window} tokens none is needed"
        )
        return config.window, reason
    return config.context, None


def export_notes(architecture: Architecture, config: ModelConfig) -> tuple[str, ...]:
    """What a user of the file should know about how llama.cpp runs it."""
    shortened = usable_context(architecture, config)[1]
    notes = [shortened] if shortened else []
    if config.rope.kind == "longrope":
        original = config.rope.settings["original_max_position_embeddings"]
        notes.append(
            f"llama.cpp picks the long rotary factors whenever the context is set above {original} tokens, "
            "even for short prompts; the model itself goes by the length of the text"
        )
    return tuple(notes)


def add_hyperparameters(writer: GGUFWriter, architecture: Architecture, config: ModelConfig) -> None:
    """Write what llama.cpp must know to build the model."""
    writer.add_block_count(config.layers)
    writer.add_context_length(usable_context(architecture, config)[0])
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocabulary)
    add_rope(writer, config)
    architecture.add(writer, config)
