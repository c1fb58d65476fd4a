"""A model exported to GGUF and taken back as a base is the same model, tensor for tensor."""

from __future__ import annotations

import pytest
import torch
from edgetune_gguf import GgufExporter
from settings import LONGROPE, YARN

from edgetune.errors import ModelError
from edgetune.models import load_model, load_tokenizer, resolve_base
from edgetune.recipe import ModelSettings

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}
GRANITE = {
    "attention_multiplier": 0.2,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "logits_scaling": 2.0,
}
CASES = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("Llama", {"head_dim": 32}),
    "llama3-rope": ("Llama", {"rope_parameters": LLAMA3, "max_position_embeddings": 32768}),
    "llama-yarn": ("Llama", {"rope_parameters": YARN}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "gemma2": ("Gemma2", {**GEMMA, "num_hidden_layers": 4}),
    "gemma3": ("Gemma3", {**GEMMA, "num_hidden_layers": 7}),
    "gemma3-pattern": (
        "Gemma3",
        {
            **GEMMA,
            "num_hidden_layers": 3,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "final_logit_softcapping": 20.0,
            "tie_word_embeddings": False,
        },
    ),
    "gemma3-linear": (
        "Gemma3",
        {
            **GEMMA,
            "num_hidden_layers": 6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "phi3": ("Phi3", {"sliding_window": None}),
    "phi3-longrope": ("Phi3", {"rope_parameters": LONGROPE, "max_position_embeddings": 512}),
    "phi3-partial": (
        "Phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
    "granite": ("Granite", GRANITE),
    "olmo2": ("Olmo2", {}),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("family", "settings"), CASES.values(), ids=CASES)
def test_a_gguf_base_is_the_model_that_was_exported(tmp_path, tiny, cache, family, settings):
    model = tiny.save_model(tmp_path / "base", family, **settings)
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    base = resolve_base(ModelSettings(source=str(artifact.main_file)), tmp_path)
    again = load_model(base.folder, dtype="float32")
    for name, value in model.named_parameters():
        torch.testing.assert_close(again.get_parameter(name), value, rtol=0, atol=2e-7)
    tokens = torch.randint(0, 256, (1, 48), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)
    assert base.origin.startswith("F32 GGUF")
    wanted, found = model.config.rope_parameters, again.config.rope_parameters
    assert {key: found[key] for key in wanted} == wanted


def test_the_tokenizer_comes_along_with_its_template(tmp_path, tiny, cache):
    tiny.save_model(tmp_path / "base", "Llama")
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    base = resolve_base(ModelSettings(source=str(artifact.main_file)), tmp_path)
    ours, theirs = load_tokenizer(base.folder), load_tokenizer(tmp_path / "base")
    text = "Turn off the lights, 123!\n<|im_end|> café"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.chat_template == theirs.chat_template
    assert (ours.bos_token, ours.eos_token) == (theirs.bos_token, theirs.eos_token)


@pytest.mark.parametrize("precision", ["f16", "bf16", "q8_0", "q4_k_m"])
def test_every_precision_is_read_back_as_the_values_that_llama_cpp_computes_with(tmp_path, tiny, cache, precision):
    tiny.save_model(tmp_path / "base", "Llama", hidden_size=256, intermediate_size=256)
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), precision, tmp_path / "export")
    base = resolve_base(ModelSettings(source=str(artifact.main_file)), tmp_path)
    model = load_model(base.folder, dtype="float32")
    whole = GgufExporter().export(tiny.tuned(base.folder), "f32", tmp_path / "again")
    tokens = list(range(40))
    found = tiny.llama_logits(whole.main_file, tokens)
    assert tiny.mean_kl(tiny.torch_logits(model, tokens), found) < 1e-5
    plain = precision in ("f16", "bf16")
    assert base.origin.startswith(f"{precision.upper()} GGUF" if plain else "reconstruction of a Q")


def test_a_table_of_positions_that_follows_no_known_rule_is_refused(tmp_path, tiny, cache):
    odd = LLAMA3 | {"low_freq_factor": 1.0, "high_freq_factor": 12.0}
    tiny.save_model(tmp_path / "base", "Llama", rope_parameters=odd, max_position_embeddings=32768)
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    with pytest.raises(ModelError, match="matches no known rule"):
        resolve_base(ModelSettings(source=str(artifact.main_file)), tmp_path)
    assert not list(cache.rglob("*.safetensors"))
