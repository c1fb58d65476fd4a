"""Tiny models with random adapters, saved the way PEFT saves them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 64


def save_base(folder: Path, *, tied: bool = False, bias: bool = False, dtype: torch.dtype = torch.float32) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        tie_word_embeddings=tied,
        attention_bias=bias,
    )
    model = LlamaForCausalLM(config)
    randomise(model, "", 0.3)
    model.to(dtype).save_pretrained(folder)
    return folder


def randomise(model: torch.nn.Module, part: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if part in name and parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = (parameter.data + size * noise).to(parameter.dtype)


def save_adapter(base: Path, folder: Path, **settings: Any) -> PeftModel:
    """Train-like: every adapter weight is random, magnitudes and saved modules are moved."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **settings}
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    randomise(tuned, "lora_", 0.2)
    randomise(tuned, "modules_to_save", 0.2)
    if settings.get("bias", "none") != "none":
        randomise(tuned, "bias", 0.2)
    tuned.save_pretrained(folder)
    return tuned.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(20).reshape(1, 20)).logits


@pytest.fixture(scope="session")
def tiny():
    return SimpleNamespace(save_base=save_base, save_adapter=save_adapter, logits=logits)
