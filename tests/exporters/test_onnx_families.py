"""Every family, the same function in ONNX Runtime, and every tensor found again in the graph."""

from __future__ import annotations

import pytest
import torch
from edgetune_onnx import OnnxExporter
from settings import LLAMA3

from edgetune.errors import ExportError
from edgetune.runtimes import open_runtime
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.verification.weights import compare_tensors

CASES = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("Llama", {"head_dim": 32}),
    "llama3-rope": ("Llama", {"rope_parameters": LLAMA3}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3-tied": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "granite": (
        "Granite",
        {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.0},
    ),
}
#: Type → largest error that rounding to it makes in tiny random tensors.
ERRORS = {"F32": 1e-7, "F16": 5e-4, "INT8": 0.01, "UINT8": 0.01, "INT4": 0.13, "UINT4": 0.13}


@pytest.fixture(params=CASES.values(), ids=CASES)
def made(request, tmp_path, tiny):
    family, settings = request.param
    model = tiny.save_model(tmp_path / "base", family, intermediate_size=128, **settings)
    return model, tiny.tuned(tmp_path / "base")


def logits(artifact, tokens):
    """From both runtimes, the second from a cache that holds some tokens."""
    for opened in (open_runtime(artifact, threads=1), OnnxRuntime(artifact, threads=1)):
        yield opened.logits(tokens)
        opened.reset()
        list(opened.logits(tokens[:20]))
        yield opened.logits(tokens, 20)
        opened.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_same_logits_and_tensors(tmp_path, tiny, made, precision):
    model, tuned = made
    artifact = OnnxExporter().export(tuned, precision, tmp_path / "export")
    tokens = torch.randint(0, 256, (48,), generator=torch.Generator().manual_seed(3)).tolist()
    expected = tiny.torch_logits(model, tokens)
    assert expected.std() > 0.1, "flat logits would prove nothing"
    for found in logits(artifact, tokens):
        wanted = expected[-len(found) :]
        assert tiny.mean_kl(wanted, found) < {"fp32": 1e-9, "fp16": 1e-4}[precision]
    assert_read_back(tuned, artifact, model)


@pytest.mark.parametrize("precision", ["int8", "int8_k_quant", "int4", "int4_rtn", "int4_last", "int4_mixed"])
def test_few_bits_are_what_was_asked_for(tmp_path, made, precision):
    model, tuned = made
    artifact = OnnxExporter().export(tuned, precision, tmp_path / "export")
    assert_read_back(tuned, artifact, model)
    with_eight_bits = {"int4_last": 1, "int4_mixed": 3}.get(precision)
    if with_eight_bits:
        assert artifact.manifest.tensor_types["UINT8"] >= with_eight_bits


def assert_read_back(tuned, artifact, model):
    exporter = OnnxExporter()
    assert exporter.metadata_problems(tuned, artifact) == []
    pairs = list(exporter.tensor_pairs(tuned, artifact, model.state_dict()))
    assert {pair.name for pair in pairs} == {name for name, _ in model.named_parameters()}
    for pair in pairs:
        finding = compare_tensors(pair)
        assert finding.problem is None, finding
        assert finding.error <= ERRORS[finding.type], finding


def test_rows_that_k_quant_cannot_pack_are_refused_before_anything_is_written(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama", intermediate_size=96)
    with pytest.raises(ExportError, match=r"rows of 96 values are an odd number of blocks of 32") as caught:
        OnnxExporter().plan(tiny.tuned(tmp_path / "base"), "int4")
    assert caught.value.problems == tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(2))
    assert OnnxExporter().plan(tiny.tuned(tmp_path / "base"), "int4_b16").precision == "int4_b16"


def test_another_family_is_refused_with_the_list(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Gemma2", head_dim=16, query_pre_attn_scalar=16)
    with pytest.raises(ExportError, match="Gemma2ForCausalLM") as caught:
        OnnxExporter().plan(tiny.tuned(tmp_path / "base"), "fp32")
    assert "LlamaForCausalLM" in caught.value.hint


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("Mistral", {"sliding_window": 16}, "a sliding window of 16 tokens"),
        ("Llama", {"hidden_act": "gelu"}, "activation gelu"),
        ("Llama", {"head_dim": 8}, "heads of 8 values"),
        (
            "Llama",
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
            "rotary scaling 'linear'",
        ),
    ],
)
def test_what_was_not_compared_is_refused(tmp_path, tiny, family, settings, message):
    tiny.save_model(tmp_path / "base", family, **settings)
    with pytest.raises(ExportError, match=message):
        OnnxExporter().plan(tiny.tuned(tmp_path / "base"), "fp32")
