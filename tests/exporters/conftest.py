"""Tiny random models of every architecture, exported and run in llama.cpp."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from edgetune.exporters import TunedModel
from edgetune.runtimes.llama_native import library

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


def torch_logits(model: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


def llama_logits(file: Path, tokens: list[int], context: int = 0) -> np.ndarray:
    """Logits at every position, from llama.cpp itself: F32 cache, no flash attention."""

    library()  # silences the log for the process, and keeps it for messages
    settings = llama_cpp.llama_model_default_params()
    settings.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(str(file).encode(), settings)
    assert model, f"llama.cpp cannot load {file}"
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = context or len(tokens)
    options.n_batch = options.n_ubatch = max(32, len(tokens))
    options.n_threads = options.n_threads_batch = 1
    options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
    options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    state = llama_cpp.llama_init_from_model(model, options)
    try:
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        for position, token in enumerate(tokens):
            batch.token[position], batch.pos[position] = token, position
            batch.n_seq_id[position], batch.seq_id[position][0], batch.logits[position] = 1, 0, 1
        batch.n_tokens = len(tokens)
        assert llama_cpp.llama_decode(state, batch) == 0
        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(state), shape=(len(tokens), size)).copy()
        llama_cpp.llama_batch_free(batch)
        return found
    finally:
        llama_cpp.llama_free(state)
        llama_cpp.llama_model_free(model)


def contents(file):
    """Everything a GGUF file says: tensor name → type and bytes, key → value."""
    reader = gguf.GGUFReader(file)
    tensors = {tensor.name: (tensor.tensor_type.name, tensor.data.tobytes()) for tensor in reader.tensors}
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return tensors, keys


def mean_kl(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of the next-token distributions, in nats."""
    p = torch.log_softmax(torch.from_numpy(expected).double(), dim=-1)
    q = torch.log_softmax(torch.from_numpy(found).double(), dim=-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.fixture(scope="session")
def tiny():
    return SimpleNamespace(
        save_model=save_model,
        save_tokenizer=save_tokenizer,
        tuned=tuned,
        torch_logits=torch_logits,
        llama_logits=llama_logits,
        mean_kl=mean_kl,
        contents=contents,
        vocabulary=VOCABULARY,
        silence=library,
    )
