"""Sensitivities of tiny models, where it is known what they must be."""

from __future__ import annotations

import shutil

import pytest
import tinyclassifier
import tinyimages
import tinytraining
import torch
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.errors import DataError, RecipeError
from edgetune.sensitivity.figures import squared
from edgetune.sensitivity.measuring import HEADS, measure


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny Llama whose first block has no way out of its attention."""
    folder = tmp_path_factory.mktemp("base") / "model"
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].self_attn.o_proj.weight[0, 0] = 1e-12
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, base):
    return tinytraining.write_recipe(tmp_path_factory.mktemp("recipe"), base)


@pytest.fixture(scope="module")
def found(recipe):
    return measure(recipe, 16)


def figures(sensitivity):
    return {layer.name: squared(layer) for layer in sensitivity.layers}


def test_every_linear_layer_but_the_head_is_measured(found):
    assert len(found.layers) == 2 * 7
    assert {layer.block for layer in found.layers} == {0, 1}
    assert "self_attn.q_proj" in {layer.kind for layer in found.layers}
    assert (found.rows, found.groups, found.heads, found.dtype) == (16, 4, 0, "float32")


def test_what_cannot_change_the_answer_is_not_sensitive(found):
    sensitive = figures(found)
    for name in ("q_proj", "k_proj", "v_proj"):
        cut_off, alive = (sensitive[f"model.layers.{n}.self_attn.{name}"] for n in (0, 1))
        assert abs(cut_off) < 1e-9 * alive


def test_the_same_recipe_gives_the_same_figures_in_batches_of_any_size(recipe, found, tmp_path, base):
    smaller = tinytraining.write_recipe(tmp_path, base, train={"micro_batch_size": 1})
    assert figures(measure(recipe, 16)) == figures(found)
    for name, value in figures(measure(smaller, 16)).items():
        assert value == pytest.approx(figures(found)[name], rel=1e-3, abs=1e-12)


def test_another_seed_takes_other_rows(found, tmp_path, base):
    other = tinytraining.write_recipe(tmp_path, base, train={"seed": 3})
    assert figures(measure(other, 16)) != figures(found)


def test_a_layer_of_zeros_is_left_out(tmp_path, base, capsys):
    from safetensors.torch import load_file, save_file

    file = tmp_path / "model" / "model.safetensors"
    shutil.copytree(base, file.parent)
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"].zero_()
    save_file(tensors, file, {"format": "pt"})
    found = measure(tinytraining.write_recipe(tmp_path / "recipe", file.parent), 16)
    assert len(found.layers) == 13
    assert "mlp.up_proj holds nothing but zeros" in capsys.readouterr().err


def test_fewer_rows_than_asked_for_are_all_used(recipe):
    assert measure(recipe, 1000).rows == 24


def test_qlora_is_measured_over_the_base_that_it_trains_on(found, tmp_path, base):
    rounded = measure(tinytraining.write_recipe(tmp_path, base, method={"kind": "qlora"}), 16)
    before, after = ({layer.name: layer.weight_norm for layer in one.layers} for one in (found, rounded))
    assert all(after[name] != before[name] for name in before if "layers.1" in name)


def test_a_classifier_is_measured_under_several_heads(tmp_path):
    recipe = tinyclassifier.write_recipe(tmp_path / "recipe", tinyclassifier.write_base(tmp_path / "base"))
    found = measure(recipe, 32)
    assert found.heads == HEADS
    assert not any("classifier" in layer.name for layer in found.layers)
    assert sum(figures(found).values()) > 0


def test_convolutions_of_an_image_model_are_measured_as_the_matrices_that_adapters_change(tmp_path):
    found = measure(tinyimages.write_recipe(tmp_path / "r", tinyimages.write_base(tmp_path / "resnet")), 16)
    layers = {layer.name: layer for layer in found.layers}
    assert len(layers) == 6
    assert layers["resnet.embedder.embedder.convolution"].block is None
    second = layers["resnet.encoder.stages.1.layers.0.layer.1.convolution"]
    assert (second.block, second.kind) == (1, "layers.0.layer.1.convolution")
    assert (second.outputs, second.inputs) == (16, 16 * 3 * 3)
    assert found.heads == HEADS
    assert sum(figures(found).values()) > 0


def test_nothing_is_left_behind(recipe, found):
    assert sorted(path.name for path in recipe.path.parent.iterdir()) == ["heldout.jsonl", "recipe.yaml", "train.jsonl"]


def test_a_method_without_an_adapter_is_refused(tmp_path, base):
    with pytest.raises(RecipeError, match=r"method\.kind is full") as caught:
        measure(tinytraining.write_recipe(tmp_path, base, method={"kind": "full"}), 16)
    assert caught.value.hint == "add --method lora"


def test_too_few_rows_are_refused(tmp_path, base):
    with pytest.raises(DataError, match="3 training rows are too few"):
        measure(tinytraining.write_recipe(tmp_path, base, data={"train_limit": 3}), 16)
