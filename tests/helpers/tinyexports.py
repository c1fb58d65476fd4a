"""Tiny random models with a tokenizer that llama.cpp can load, and what an exporter takes them as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from edgetune.exporters import TunedModel

VOCABULARY = 272
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: Settings that every tiny model shares.
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 258,
    "eos_token_id": 259,
    "pad_token_id": 258,
}


def save_tokenizer(folder: Path) -> None:
    """Byte-level BPE: 256 bytes, two merged pairs, three control tokens."""
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "in"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("t", "h"), ("i", "n")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
    tokenizer.add_special_tokens(special)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], pad_token=special[0]
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def save_model(folder: Path, family: str, seed: int = 0, **settings: Any) -> torch.nn.Module:
    """A random model, norms and biases included, saved with its tokenizer."""
    config_class = getattr(transformers, family + ("TextConfig" if family == "Gemma3" else "Config"))
    config = config_class(**{**SIZES, **settings})
    torch.manual_seed(seed)
    model = getattr(transformers, family + "ForCausalLM")(config)
    for name, parameter in model.named_parameters():
        spread = 0.3 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5
        centre = 1.0 if name.endswith("norm.weight") and not family.startswith("Gemma") else 0.0
        parameter.data = centre + spread * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model.eval()


def tuned(folder: Path, **changes: Any) -> TunedModel:
    facts = {
        "name": "tiny",
        "base_folder": folder,
        "adapter_folder": None,
        "trained_against": None,
        "quantised_modules": (),
        "tokenizer_folder": folder,
        "base_source": "example/tiny",
        "base_sha256": "0" * 64,
    }
    return TunedModel(**{**facts, **changes})


def randomise(model: torch.nn.Module, part: str, size: float, seed: int) -> None:
    """Add noise to the parameters with ``part`` in their names."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if part in name:
            parameter.data = parameter.data + size * torch.randn(parameter.shape, generator=generator)
