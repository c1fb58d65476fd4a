"""An adapter that lacks what its settings name is seen; the rules are PEFT's."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from tinymodels import tiny_model
from tinyruns import write_adapter, write_base

from edgetune.adapters.merging import MergedWeights
from edgetune.adapters.targets import Targets
from edgetune.adapters.tuned import tuned_from_adapter
from edgetune.errors import ModelError

MODULES = [
    *(f"model.layers.{n}.self_attn.{m}_proj" for n in range(3) for m in "qkvo"),
    *(f"model.layers.{n}.mlp.{m}_proj" for n in range(3) for m in ("gate", "up", "down")),
    *(f"model.blocks.{n}.mlp.up_proj" for n in range(2)),
    "model.embed_tokens",
    "lm_head",
]


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": ["model.layers.1.self_attn.q_proj", "embed_tokens"]},
        {"target_modules": r".*layers\.[02]\..*(q|k)_proj"},
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 2]},
        {"target_modules": ["q_proj"], "layers_to_transform": 1},
        {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "blocks"},
        {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": ["blocks", "layers"]},
        {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]},
        {"target_modules": ["q_proj", "lm_head"], "exclude_modules": r".*layers\.0\..*"},
        {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["model.layers.0.mlp.up_proj", "q_proj"], "layers_to_transform": [2]},
    ],
)
def test_the_modules_meant_are_those_that_peft_means(settings):
    config, own = LoraConfig(task_type="CAUSAL_LM", **settings), Targets.of(settings)
    assert [own.targets(name) for name in MODULES] == [
        bool(check_target_module_exists(config, name)) for name in MODULES
    ]


def test_all_linear_means_neither_head_nor_embedding_and_nothing_means_nothing():
    every = Targets.of({"target_modules": "all-linear"})
    assert [name for name in MODULES if not every.targets(name)] == ["model.embed_tokens", "lm_head"]
    assert not any(Targets.of({}).targets(name) for name in MODULES)


def test_what_is_stored_whole_and_biases_are_asked_for_too():
    base = {"lm_head.weight": (9, 4), "a.q_proj.weight": (4, 4), "a.q_proj.bias": (4,), "a.norm.weight": (4,)}
    saved = Targets.of({"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]})
    assert saved.missing(["a.q_proj.weight"], ["lm_head.weight"], base) == ["a.norm.weight"]
    for bias in ("all", "lora_only"):
        assert Targets.of({"bias": bias}).missing(["a.q_proj.weight"], (), base) == ["a.q_proj.bias"]


def edit(folder, change):
    file = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    change(tensors)
    safetensors.torch.save_file(tensors, file)


def drop_a_layer(tensors):
    for name in [name for name in tensors if ".layers.1." in name]:
        del tensors[name]


def test_a_layer_that_is_missing_is_named(tmp_path):
    base, adapter = write_base(tmp_path / "base"), write_adapter(tmp_path / "adapter")
    assert MergedWeights(base, adapter).changed
    edit(adapter, drop_a_layer)
    with pytest.raises(ModelError, match=r"lacks 2 tensors .*: model\.layers\.1\.") as caught:
        MergedWeights(base, adapter)
    assert len(caught.value.problems) == 2
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"layers_to_transform": [0]}))
    assert MergedWeights(base, adapter).changed, "only asked for the first"


def test_one_tensor_that_is_missing_is_named_without_more_to_follow(tmp_path):
    base, adapter = write_base(tmp_path / "base"), write_adapter(tmp_path / "adapter")
    edit(adapter, lambda tensors: [tensors.pop(name) for name in list(tensors) if "layers.1.mlp" in name])
    with pytest.raises(ModelError, match=r"lacks 1 tensors .*layers\.1\.mlp\.down_proj\.weight$"):
        MergedWeights(base, adapter)


def test_an_adapter_of_a_smaller_base_is_refused(tmp_path):
    base, adapter = write_base(tmp_path / "base"), write_adapter(tmp_path / "adapter", num_hidden_layers=1)
    with pytest.raises(ModelError, match="lacks 2 tensors"):
        MergedWeights(base, adapter)


def test_an_adapter_that_changes_nothing_is_refused(tmp_path, capsys):
    base, adapter = write_base(tmp_path / "base"), write_adapter(tmp_path / "adapter")

    def forget(part):
        def change(tensors):
            for name in tensors:
                if "lora_B" in name and part in name:
                    tensors[name] = tensors[name] * 0

        return change

    edit(adapter, forget(".layers.0.self_attn"))
    tuned_from_adapter(adapter, str(base))
    assert "1 of 4 modules" in capsys.readouterr().err
    edit(adapter, forget(""))
    with pytest.raises(ModelError, match="changes nothing: lora_A or lora_B of all 4 modules is zero"):
        tuned_from_adapter(adapter, str(base))


def test_an_untrained_adapter_of_the_embedding_is_refused(tmp_path):
    """Of embeddings PEFT starts with A at zero and B random."""
    base = write_base(tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM")
    get_peft_model(tiny_model("llama"), config).save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    with pytest.raises(ModelError, match="changes nothing: lora_A or lora_B of all 1 modules is zero"):
        tuned_from_adapter(tmp_path / "adapter", str(base))


def test_a_base_other_than_the_settings_name_is_told(tmp_path, capsys):
    base, adapter = write_base(tmp_path / "base"), write_adapter(tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    for named, told in (("example/other", True), (str(base), False), (None, False)):
        (adapter / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": named}))
        tuned_from_adapter(adapter, str(base))
        assert (f"trained on 'example/other', and --base names '{base}'" in capsys.readouterr().err) is told
