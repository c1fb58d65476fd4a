"""Tiny random models of every architecture, exported and run in llama.cpp."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import gguf
import llama_cpp
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tinyexports import VOCABULARY, randomise, save_model, save_tokenizer, tuned

from edgetune.models.nf4 import nf4_round_trip
from edgetune.runtimes.llama_library import library


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


@pytest.fixture
def make(tiny, tmp_path):
    """``make(family, seed, **LoRA settings)``: the tuned model for the exporter, and the same in torch."""

    def build(family="Llama", seed=1, base=None, nf4=False, model_settings=None, **settings):
        folder = tmp_path / f"base-{family}"
        model = tiny.save_model(folder, family, **(model_settings or {})) if base is None else copy.deepcopy(base)
        quantised = tuple(n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head")
        for name in quantised if nf4 else ():
            weight = model.get_submodule(name).weight
            weight.data = nf4_round_trip(weight.data)
        plain = copy.deepcopy(model)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **settings}
        tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        randomise(tuned, "lora_B", 0.1, seed)
        randomise(tuned, "lora_embedding", 0.2, seed)
        randomise(tuned, "modules_to_save", 0.2, seed)
        adapter = tmp_path / f"adapter-{family}-{seed}"
        tuned.save_pretrained(adapter, save_embedding_layers=False)
        exported = tiny.tuned(
            folder,
            name=f"tiny{seed}",
            adapter_folder=adapter,
            trained_against="nf4" if nf4 else "base",
            quantised_modules=quantised if nf4 else (),
            run=f"run-{seed}",
        )
        return exported, tuned.eval(), plain

    return build
