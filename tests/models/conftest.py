"""Tiny model folders in the layout that the hub uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tinytokenizers import byte_level
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 1200,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of edgetune's own."""
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model_folder(tmp_path) -> Path:
    """A whole model: two layers of Llama with a trained tokenizer."""
    folder = tmp_path / "tiny"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    byte_level(folder)
    return folder


@pytest.fixture
def edit_json():
    """Change keys of a JSON file in place."""

    def edit(path: Path, **changes: object) -> None:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(content | changes), encoding="utf-8")

    return edit
