"""Tiny random transformers models and a byte-level tokenizer, made in memory."""

from __future__ import annotations

from typing import Any

import torch
from tinygguf import CHATML, SPECIAL, byte_alphabet
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
)

_SMALL = {
    "vocab_size": 261,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.5,
}


#: Rotary factors that differ beyond 64 tokens, as Phi-3's 128k models have them.
_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": 256,
}


def tiny_model(kind: str, **changes: Any) -> Any:
    """A seeded random model; ``gemma3`` has a sliding window of 4 in one of its layers."""
    torch.manual_seed(0)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**_SMALL | changes)).eval()
    if kind == "phi3-longrope":
        long = {"rope_parameters": _LONG_ROPE, "original_max_position_embeddings": 256, "max_position_embeddings": 512}
        return Phi3ForCausalLM(Phi3Config(**_SMALL | long | {"sliding_window": None} | changes)).eval()
    kinds = ["sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            **_SMALL
            | {"sliding_window": 4, "layer_types": kinds, "query_pre_attn_scalar": 8, "tie_word_embeddings": False}
            | changes
        )
    ).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, three control tokens and two merges: the same ids as in :func:`tinygguf.write_tiny_gguf`."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *byte_alphabet(), "he", "ll"])}
    backend = Tokenizer(models.BPE(vocabulary, [("h", "e"), ("l", "l")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        chat_template=CHATML,
    )
