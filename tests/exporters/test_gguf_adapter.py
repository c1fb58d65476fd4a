"""GGUF LoRA: base and adapter in llama.cpp compute what torch and PEFT compute, or the export is refused."""

import copy
import json

import gguf
import numpy as np
import pytest
from edgetune_gguf import GgufExporter
from peft import PeftModel
from settings import LORA_SCALES
from tinyexports import randomise

from edgetune.adapters.tuned import base_alone
from edgetune.artifact import open_artifact
from edgetune.errors import ArtifactError, ExportError
from edgetune.runtimes import adapters_of, open_runtime
from edgetune.runtimes.pairing import on_base

TOKENS = [258, 40, 41, 250, 7, 99, 120, 3, 200]


def separate(model, folder, precision="f32", base="f32"):
    """Base and adapter, exported."""
    exporter = GgufExporter()
    below = exporter.export(base_alone(model), base, folder / f"base-{base}")
    return below, exporter.export_adapter(model, precision, folder / f"adapter-{precision}")


def logits(artifact):
    runtime = open_runtime(artifact, threads=1, kv_cache="f32")
    try:
        return runtime.logits(TOKENS)
    finally:
        runtime.close()


KINDS = {
    **LORA_SCALES,
    "alpha-0": {"lora_alpha": 0, "alpha_pattern": {"q_proj": 8}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_base_and_adapter_compute_what_peft_computes(make, tiny, tmp_path, kind):
    model, tuned, plain = make(**KINDS[kind])
    _, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    assert np.abs(expected - tiny.torch_logits(plain, TOKENS)).max() > 0.1  # the adapter does something
    np.testing.assert_allclose(logits(adapter), expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "family", ["Qwen2", "Qwen3", "Gemma2", "Gemma3", "Phi3", "SmolLM3", "Granite", "Olmo2", "Mistral"]
)
def test_every_architecture(make, tiny, tmp_path, family):
    settings = {
        "Gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16},
        "Gemma3": {"head_dim": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": True},
    }
    model, tuned, plain = make(family, model_settings=settings.get(family), use_rslora=True)
    _, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    assert tiny.mean_kl(expected, tiny.torch_logits(plain, TOKENS)) > 1e-3
    assert tiny.mean_kl(expected, logits(adapter)) < 1e-6


def test_an_adapter_of_a_quantised_base_runs_on_that_base_alone(make, tiny, tmp_path):
    model, tuned, _ = make(nf4=True)
    base, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    np.testing.assert_allclose(logits(adapter), expected, atol=2e-4 * np.abs(expected).max())
    other = GgufExporter().export(
        base_alone(tiny.tuned(model.base_folder, adapter_folder=model.adapter_folder, trained_against="base")),
        "f32",
        tmp_path / "sixteen",
    )
    assert base.manifest.base_sha256 == other.manifest.base_sha256
    with pytest.raises(ArtifactError, match="belongs to another base: it was trained on example/tiny, rounded to NF4"):
        open_runtime(on_base(adapter, other))


def test_sixteen_bits_are_enough(make, tiny, tmp_path):
    model, tuned, _ = make()
    _, adapter = separate(model, tmp_path / "out", "f16")
    assert adapter.manifest.tensor_types == {"F16": 28}
    assert tiny.mean_kl(tiny.torch_logits(tuned, TOKENS), logits(adapter)) < 1e-5


def test_dora_is_approximated_and_says_what_is_missing(make, tiny, tmp_path, capsys):
    model, tuned, plain = make(use_dora=True, r=8, target_modules=["q_proj", "k_proj", "down_proj"])
    _, adapter = separate(model, tmp_path / "out")
    missing = adapter.manifest.missing
    assert set(missing) == {f"blk.{n}.{part}.weight" for n in (0, 1) for part in ("attn_q", "attn_k", "ffn_down")}
    assert 0 < max(missing.values()) < 0.3
    assert "DoRA approximated in 6 modules" in capsys.readouterr().err
    # The stated residual is that of the weights themselves.
    file = gguf.GGUFReader(adapter.main_file)
    found = {tensor.name: tensor.data for tensor in file.tensors}
    alpha = float(file.fields["adapter.lora.alpha"].contents())
    merged = copy.deepcopy(tuned).merge_and_unload()
    name = "model.layers.1.mlp.down_proj"
    change = (merged.get_submodule(name).weight - plain.get_submodule(name).weight).detach().numpy()
    a, b = found["blk.1.ffn_down.weight.lora_a"], found["blk.1.ffn_down.weight.lora_b"]
    residual = np.linalg.norm(change - alpha / len(a) * b @ a) / np.linalg.norm(change)
    assert residual == pytest.approx(missing["blk.1.ffn_down.weight"], rel=1e-3)
    # Plain LoRA without the magnitudes, which other exporters write, is further away.
    expected = tiny.torch_logits(tuned, TOKENS)
    settings = json.loads((model.adapter_folder / "adapter_config.json").read_text())
    assert settings["use_dora"]
    assert tiny.mean_kl(expected, logits(adapter)) < tiny.mean_kl(expected, tiny.torch_logits(plain, TOKENS)) / 10


def test_dora_without_a_low_rank_is_refused(make, tmp_path):
    model, tuned, _ = make(use_dora=True)
    randomise(tuned, "lora_magnitude", 2.0, 5)
    tuned.save_pretrained(model.adapter_folder)
    with pytest.raises(ExportError, match=r"DoRA's change of .* has no low rank"):
        separate(model, tmp_path / "out")
    assert not (tmp_path / "out/adapter-f32").exists()


def test_an_adapted_embedding_travels_where_the_head_is_apart(make, tiny, tmp_path):
    model, tuned, _ = make(target_modules=["q_proj", "embed_tokens", "lm_head"])
    _, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    np.testing.assert_allclose(logits(adapter), expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_one_of_two_tied_tensors_cannot_change_alone(make, tmp_path, target):
    model, _, _ = make(target_modules=["q_proj", target], model_settings={"tie_word_embeddings": True})
    with pytest.raises(ExportError, match="is one tensor with"):
        GgufExporter().plan_adapter(model, "f16")


@pytest.mark.parametrize(
    "settings", [{"modules_to_save": ["lm_head"]}, {"modules_to_save": ["norm"]}, {"bias": "all"}], ids=str
)
def test_whole_tensors_are_refused_by_name(make, tmp_path, settings):
    model, tuned, _ = make(target_modules=["q_proj", "down_proj"], model_settings={"attention_bias": True}, **settings)
    if "bias" in settings:
        randomise(tuned, "q_proj.base_layer.bias", 0.2, 3)
        tuned.save_pretrained(model.adapter_folder)
    with pytest.raises(ExportError, match="cannot carry tensors that were trained whole") as caught:
        GgufExporter().plan_adapter(model, "f16")
    assert caught.value.problems
    assert "merge it" in caught.value.hint


def test_whole_tensors_that_nobody_changed_are_no_obstacle(make, tiny, tmp_path):
    model, tuned, _ = make(bias="all", model_settings={"attention_bias": True})
    _, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    np.testing.assert_allclose(logits(adapter), expected, atol=2e-4 * np.abs(expected).max())


def test_switching_is_a_fresh_load(make, tiny, tmp_path):
    one, tuned_one, plain = make(seed=1)
    two, tuned_two, _ = make(seed=2, base=plain, use_rslora=True, r=8)
    base, first = separate(one, tmp_path / "one")
    second = GgufExporter().export_adapter(two, "f32", tmp_path / "two")
    runtime = open_runtime(base, threads=1, kv_cache="f32")
    switching = adapters_of(runtime)
    switching.add_adapter("one", first)
    switching.add_adapter("two", second)
    fresh = {"one": logits(first), "two": logits(on_base(second, base)), None: logits(base)}
    for name in ("one", "two", "one", None, "two"):
        switching.use_adapter(name)
        # From the middle: what the cache holds of another adapter must not be used.
        np.testing.assert_array_equal(runtime.logits(TOKENS, 3), fresh[name][3:])
    runtime.close()
    for name, torch_model in (("one", tuned_one), ("two", tuned_two), (None, plain)):
        expected = tiny.torch_logits(torch_model, TOKENS)
        np.testing.assert_allclose(fresh[name], expected, atol=2e-4 * np.abs(expected).max())


def test_models_and_adapters_are_not_taken_for_each_other(make, tiny, tmp_path):
    model, _, _ = make()
    base, adapter = separate(model, tmp_path / "out")
    with pytest.raises(ArtifactError, match=r"is an adapter: it runs on a base"):
        open_runtime(adapter.main_file.rename(tmp_path / "bare.gguf"))
    runtime = open_runtime(base)
    with pytest.raises(ArtifactError, match="is a model, not an adapter"):
        adapters_of(runtime).add_adapter("x", base)
    with pytest.raises(ArtifactError, match="no adapter 'x' is loaded"):
        adapters_of(runtime).use_adapter("x")
    adapters_of(runtime).add_adapter("x", open_artifact(tmp_path / "bare.gguf"))
    runtime.close()
    merged = GgufExporter().export(model, "f32", tmp_path / "merged")
    runtime = open_runtime(merged)
    with pytest.raises(ArtifactError, match=r"is a tuned model, and .* belongs on its untuned base"):
        adapters_of(runtime).add_adapter("x", open_artifact(tmp_path / "bare.gguf"))
    runtime.close()


def test_an_adapter_of_another_model_is_refused(make, tiny, tmp_path):
    model, _, _ = make()
    base, _ = separate(model, tmp_path / "out")
    stranger = tiny.tuned(
        model.base_folder, adapter_folder=model.adapter_folder, trained_against="base", base_sha256="1" * 64
    )
    adapter = GgufExporter().export_adapter(stranger, "f32", tmp_path / "stranger")
    with pytest.raises(ArtifactError, match="belongs to another base"):
        open_runtime(on_base(adapter, base))


def test_peft_reads_what_is_written_as_a_plain_folder(make, tiny, tmp_path):
    from edgetune.adapters.canonical import canonical_lora
    from edgetune.adapters.merging import MergedWeights
    from edgetune.adapters.peft_folder import write_peft

    model, tuned, plain = make(
        use_rslora=True,
        target_modules=["q_proj", "down_proj", "embed_tokens"],
        rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 6},
    )
    weights = MergedWeights(model.base_folder, model.adapter_folder, "base")
    assert write_peft(canonical_lora(weights), tmp_path / "plain") == {}
    again = PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path / "plain").eval()
    assert not again.peft_config["default"].use_rslora
    expected = tiny.torch_logits(tuned, TOKENS)
    np.testing.assert_allclose(tiny.torch_logits(again, TOKENS), expected, atol=1e-5 * np.abs(expected).max())
