"""Every architecture, bit for bit the same function in llama.cpp: F32 file, F32 cache, KL below 1e-5."""

from __future__ import annotations

import pytest
import torch
from edgetune_gguf import GgufExporter
from settings import LLAMA3, LONGROPE, YARN

from edgetune.adapters.tuned import tuned_from_model
from edgetune.errors import ExportError
from edgetune.recipe import ModelSettings

#: Phi3Config goes by its own original_max_position_embeddings, whatever rope_parameters says.
PHI3_LONG = {"rope_parameters": LONGROPE, "original_max_position_embeddings": 256, "max_position_embeddings": 512}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16}
CASES = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("Llama", {"head_dim": 32}),
    "llama3-rope": ("Llama", {"rope_parameters": LLAMA3}),
    "llama-yarn": ("Llama", {"rope_parameters": YARN}),
    "llama-yarn-factors": ("Llama", {"rope_parameters": YARN | {"attention_factor": 1.3, "beta_fast": 16.0}}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3-bias": ("Qwen3", {"head_dim": 16, "attention_bias": False, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2", {**GEMMA, "sliding_window": 16, "num_hidden_layers": 4}),
    "gemma3": ("Gemma3", {**GEMMA, "sliding_window": 16, "num_hidden_layers": 7}),
    "gemma3-linear": (
        "Gemma3",
        {
            **GEMMA,
            "sliding_window": 16,
            "num_hidden_layers": 6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "gemma3-pattern": (
        "Gemma3",
        {
            **GEMMA,
            "sliding_window": 16,
            "num_hidden_layers": 3,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "final_logit_softcapping": 20.0,
            "tie_word_embeddings": False,
        },
    ),
    "phi3": ("Phi3", {"sliding_window": None}),
    "phi3-longrope-short": ("Phi3", PHI3_LONG),
    "phi3-longrope-long": ("Phi3", PHI3_LONG),
    "phi3-partial": (
        "Phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
    "granite": (
        "Granite",
        {
            "attention_multiplier": 0.2,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.0,
        },
    ),
    "granite-biases": ("Granite", {"attention_bias": True, "mlp_bias": True}),
    "olmo2": ("Olmo2", {}),
    "olmo2-tied": ("Olmo2", {"tie_word_embeddings": True}),
}


@pytest.mark.parametrize(("family", "settings"), CASES.values(), ids=CASES)
def test_llama_cpp_computes_the_same_logits(tmp_path, tiny, request, family, settings):
    model = tiny.save_model(tmp_path / "base", family, **settings)
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    # llama.cpp picks LongRoPE's factors by the context, which it rounds up to 256; transformers by the row's length.
    length = 270 if request.node.callspec.id == "phi3-longrope-long" else 48
    tokens = torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(3)).tolist()
    expected = tiny.torch_logits(model, tokens)
    found = tiny.llama_logits(artifact.main_file, tokens)
    assert expected.std() > 0.1, "flat logits would prove nothing"
    assert tiny.mean_kl(expected, found) < 1e-5
    assert abs(expected - found).max() < 2e-3 * abs(expected).max()


#: What a GGUF base is not read back from.
ONE_WAY = ("llama3-rope", "llama-yarn-factors", "granite-biases")


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONE_WAY])
def test_a_file_taken_as_base_is_exported_to_the_same_file(tmp_path, tiny, monkeypatch, name):
    """There and back: GGUF as base, dequantised, exported again, must be the same tensors and settings."""
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    family, settings = CASES[name]
    tiny.save_model(tmp_path / "base", family, **settings)
    first = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "first")
    model = tuned_from_model(ModelSettings(source=str(first.main_file)), tmp_path)
    second = GgufExporter().export(model, "f32", tmp_path / "second")
    (tensors, keys), (other_tensors, other_keys) = tiny.contents(first.main_file), tiny.contents(second.main_file)
    assert other_tensors == tensors
    family_keys = {key for key in {*keys, *other_keys} if not key.startswith(("general.", "edgetune.", "tokenizer."))}
    assert {key: other_keys.get(key) for key in family_keys} == {key: keys.get(key) for key in family_keys}


def test_an_unknown_architecture_is_refused_by_name_with_the_list(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "GPTNeoX")
    with pytest.raises(ExportError, match="GPTNeoXForCausalLM") as caught:
        GgufExporter().plan(tiny.tuned(tmp_path / "base"), "f32")
    for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "Phi3", "SmolLM3", "Granite", "Olmo2"):
        assert f"{name}ForCausalLM" in caught.value.hint
