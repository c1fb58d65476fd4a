from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from edgetune.adapters.merging import HEAD, MergedWeights
from edgetune.adapters.tensors import read_rows
from edgetune.errors import ModelError
from edgetune.models.nf4 import nf4_round_trip

SETTINGS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "dora-rslora": {"use_dora": True, "use_rslora": True},
    "patterns": {
        "rank_pattern": {"layers.0.self_attn.q_proj": 2, ".*down_proj": 6},
        "alpha_pattern": {"q_proj": 3, "layers.1.mlp.down_proj": 5},
        "use_rslora": True,
    },
    "modules_to_save": {"modules_to_save": ["lm_head", "input_layernorm"]},
    "embedding": {"target_modules": ["embed_tokens", "lm_head", "v_proj"]},
    "dora-embedding": {"target_modules": ["embed_tokens", "v_proj"], "use_dora": True},
    "all-linear": {"target_modules": "all-linear"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_merged_weights_equal_those_of_peft(tmp_path, tiny, settings):
    base = tiny.save_base(tmp_path / "base")
    expected = tiny.save_adapter(base, tmp_path / "adapter", **settings).merge_and_unload().state_dict()
    merged = MergedWeights(base, tmp_path / "adapter", "base")
    assert set(merged.tensors) == set(expected)
    for name, info in merged.tensors.items():
        values = merged.read(name)
        assert values.shape == info.shape
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_rows_are_those_of_the_whole(tmp_path, tiny, settings):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter", **settings)
    merged = MergedWeights(base, tmp_path / "adapter", "base")
    matrices = {name for name, info in merged.tensors.items() if len(info.shape) == 2}
    by_rows = {name for name in matrices if merged.reads_rows(name)}
    # DoRA's norms of an embedding run over all tokens.
    columns = {"model.embed_tokens.weight"} if settings is SETTINGS["dora-embedding"] else set()
    assert by_rows == matrices - columns
    for name in by_rows:
        read, whole = merged.open_rows(name), merged.read(name)
        parts = [read(start, min(start + 5, len(whole))) for start in range(0, len(whole), 5)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_matrix_rounded_to_nf4_is_not_read_by_rows(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    module = "model.layers.0.self_attn.q_proj"
    merged = MergedWeights(base, tmp_path / "adapter", "nf4", [module])
    assert not merged.reads_rows(f"{module}.weight")
    assert merged.reads_rows("model.layers.1.self_attn.q_proj.weight")


def test_a_file_that_was_cut_short_while_it_is_read_is_named(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    merged = MergedWeights(base)
    name = max(merged.tensors, key=lambda name: merged.tensors[name].start)
    info = merged.tensors[name]
    read = merged.open_rows(name) if merged.reads_rows(name) else lambda *_: read_rows(info, 0, info.shape[0])
    with info.file.open("r+b") as handle:
        handle.truncate(info.start + 1)
    with pytest.raises(ModelError, match="truncated"):
        read(0, 1)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_are_merged(tmp_path, tiny, bias):
    base = tiny.save_base(tmp_path / "base", bias=True)
    expected = tiny.save_adapter(base, tmp_path / "adapter", bias=bias, target_modules=["q_proj"])
    stored = [name for name in load_file(tmp_path / "adapter/adapter_model.safetensors") if name.endswith("bias")]
    assert stored
    expected = expected.merge_and_unload().state_dict()
    merged = MergedWeights(base, tmp_path / "adapter", "base")
    for name in merged.tensors:
        np.testing.assert_allclose(merged.read(name), expected[name].numpy(), atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["lm_head"]},
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
    ids=["lora-head", "lora-embedding", "lora-both", "saved-head", "saved-embedding"],
)
def test_an_adapter_on_one_of_two_tied_weights_unties_them(tmp_path, tiny, settings):
    """Merging in place would change both; the tuned model itself (unmerged) is the judge."""
    base = tiny.save_base(tmp_path / "base", tied=True)
    tuned = tiny.save_adapter(base, tmp_path / "adapter", **settings)
    merged = MergedWeights(base, tmp_path / "adapter", "base")
    assert HEAD in merged.tensors
    untied = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32, tie_word_embeddings=False)
    untied.load_state_dict({name: torch.from_numpy(merged.read(name).copy()) for name in merged.tensors})
    torch.testing.assert_close(tiny.logits(untied.eval()), tiny.logits(tuned), atol=1e-5, rtol=1e-5)


def test_a_tied_head_that_nothing_changes_stays_tied(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base", tied=True)
    tiny.save_adapter(base, tmp_path / "adapter")
    assert HEAD not in MergedWeights(base, tmp_path / "adapter", "base").tensors


def test_a_qlora_adapter_goes_into_the_rounded_base(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    modules = [f"model.layers.{i}.{part}" for i in range(2) for part in ("self_attn.q_proj", "mlp.up_proj")]
    merged = MergedWeights(base, tmp_path / "adapter", "nf4", modules)
    plain = MergedWeights(base, tmp_path / "adapter", "base")
    weights = load_file(base / "model.safetensors")
    for name in merged.tensors:
        if name.removesuffix(".weight") in modules:
            rounded = nf4_round_trip(weights[name]).numpy() - weights[name].numpy()
            assert np.abs(rounded).max() > 1e-3
            np.testing.assert_allclose(merged.read(name), plain.read(name) + rounded, atol=1e-6)
        else:
            np.testing.assert_array_equal(merged.read(name), plain.read(name))


def test_dora_over_nf4_takes_the_norm_of_the_rounded_weight(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter", use_dora=True, target_modules=["q_proj"])
    name = "model.layers.0.self_attn.q_proj"
    weights, adapter = load_file(base / "model.safetensors"), load_file(tmp_path / "adapter/adapter_model.safetensors")
    a, b, m = (
        adapter[f"base_model.model.{name}.{part}"]
        for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
    )
    total = nf4_round_trip(weights[f"{name}.weight"]) + 2.0 * b @ a
    expected = m[:, None] * total / total.norm(dim=1, keepdim=True)
    merged = MergedWeights(base, tmp_path / "adapter", "nf4", [name])
    np.testing.assert_allclose(merged.read(f"{name}.weight"), expected.numpy(), atol=1e-6)


def test_bfloat16_and_shards_are_read(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base", dtype=torch.bfloat16)
    expected = load_file(base / "model.safetensors")
    LlamaForCausalLM.from_pretrained(base).save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    merged = MergedWeights(tmp_path / "shards")
    assert set(merged.tensors) == set(expected)
    for name, info in merged.tensors.items():
        assert info.dtype == "BF16"
        np.testing.assert_array_equal(merged.read(name), expected[name].float().numpy())


def test_reading_never_changes_the_base_file(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter", use_dora=True)
    before = (base / "model.safetensors").read_bytes()
    merged = MergedWeights(base, tmp_path / "adapter", "base")
    first = {name: merged.read(name).copy() for name in merged.tensors}
    assert (base / "model.safetensors").read_bytes() == before
    for name, values in first.items():
        np.testing.assert_array_equal(merged.read(name), values)


def edit_config(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"something_new": {"on": 1}}, "something_new"),
        ({"rank_pattern": {"q_proj": 7}}, "rank 7"),
        ({"use_dora": True}, "magnitude"),
        ({"r": None, "lora_alpha": 1, "peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(tmp_path, tiny, change, named):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    edit_config(tmp_path / "adapter", **change)
    with pytest.raises(ModelError, match=named) as caught:
        MergedWeights(base, tmp_path / "adapter", "base")
    assert caught.value.hint


@pytest.mark.parametrize("change", [{"peft_type": "LORA", "r": None}, {}])
def test_a_damaged_config_is_one_message(tmp_path, tiny, change):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    (tmp_path / "adapter/adapter_config.json").write_text('{"peft_type": "LORA"}' if change else "{not json")
    with pytest.raises(ModelError, match="damaged"):
        MergedWeights(base, tmp_path / "adapter", "base")


def test_a_tensor_left_over_is_named(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    extra = {"base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight": torch.zeros(2, 2)}
    save_file(load_file(file) | extra, file)
    with pytest.raises(ModelError, match=r"lora_C\.weight"):
        MergedWeights(base, tmp_path / "adapter", "base")


def test_a_weight_both_adapted_and_replaced_is_refused(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    whole = {"base_model.model.model.layers.0.self_attn.q_proj.weight": torch.zeros(32, 32)}
    save_file(load_file(file) | whole, file)
    with pytest.raises(ModelError, match="both adapts and replaces"):
        MergedWeights(base, tmp_path / "adapter", "base")


def test_an_adapter_of_another_base_is_refused_with_every_misfit(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    tensors = load_file(file)
    prefix = "base_model.model.model.layers"
    tensors[f"{prefix}.0.self_attn.q_proj.lora_B.weight"] = torch.zeros(40, 4)
    tensors[f"{prefix}.7.mlp.down_proj.lora_A.weight"] = torch.zeros(4, 48)
    tensors[f"{prefix}.7.mlp.down_proj.lora_B.weight"] = torch.zeros(32, 4)
    save_file(tensors, file)
    with pytest.raises(ModelError, match="another base") as caught:
        MergedWeights(base, tmp_path / "adapter", "base")
    assert len(caught.value.problems) == 2
    assert any("layers.7.mlp.down_proj" in problem for problem in caught.value.problems)


def test_half_an_adapter_pair_is_refused(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    tensors = load_file(file)
    del tensors["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.down_proj is incomplete"):
        MergedWeights(base, tmp_path / "adapter", "base")


def test_quantised_modules_must_exist(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"layers\.9"):
        MergedWeights(base, tmp_path / "adapter", "nf4", ["model.layers.9.mlp.up_proj"])
    with pytest.raises(ModelError, match="none is named"):
        MergedWeights(base, tmp_path / "adapter", "nf4")


def test_damaged_weight_files_are_one_message(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    file = base / "model.safetensors"
    whole = file.read_bytes()
    for bad in (whole[: len(whole) // 2], b"", b"\xff" * 200):
        file.write_bytes(bad)
        with pytest.raises(ModelError, match="damaged weights"):
            MergedWeights(base)
    file.unlink()
    with pytest.raises(ModelError, match="no weights"):
        MergedWeights(base)


def test_a_file_that_goes_bad_between_listing_and_reading_is_one_message(tmp_path, tiny):
    base = tiny.save_base(tmp_path / "base")
    merged = MergedWeights(base)
    (base / "model.safetensors").write_bytes(b"gone")
    with pytest.raises(ModelError, match="cannot read"):
        merged.read("model.norm.weight")


def test_a_quantised_base_is_refused(tmp_path):
    save_file({"model.embed_tokens.weight": torch.zeros(4, 4, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"not plain floating-point.*I8"):
        MergedWeights(tmp_path)
