"""What an adapter goes onto is what it was trained on: the same type, the same file."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tinygguf import write_tiny_gguf
from tinyruns import write_adapter, write_base, write_run
from tinytraining import write_recipe

from edgetune import files
from edgetune.adapters.lora import read_adapter
from edgetune.adapters.merging import MergedWeights
from edgetune.adapters.tuned import quantised_from, trained_base, tuned_model
from edgetune.errors import ModelError
from edgetune.exporting import export
from edgetune.exporting_parts import inputs_sha256
from edgetune.models import load_model
from edgetune.models.gguf_base import dequantised
from edgetune.runtimes.torch_runtime import open_torch
from edgetune.training import train
from edgetune.training.methods import quantise

ONE_STEP = {"max_steps": 1, "evaluate_every": 1}


@pytest.fixture(scope="module")
def bfloat16_run(tmp_path_factory):
    """QLoRA in bfloat16, as on a GPU, over a base that is stored in float32."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("bfloat16")
    base = write_base(place / "base")
    settings = {"dtype": "bfloat16"} | ONE_STEP
    recipe = write_recipe(place / "recipe", base, method={"kind": "qlora"}, train=settings)
    return train(recipe, place / "run")


@pytest.fixture
def computed_with(bfloat16_run):
    """Weight name → what training computed with, the adapter added in float32."""
    base = load_model(trained_base(bfloat16_run).folder, dtype="bfloat16")
    names = quantise(base, packed=False)
    changes = read_adapter(bfloat16_run.adapter_folder).changes
    values = {f"{name}.weight": base.get_submodule(name).weight.detach().float() for name in names}
    return {name: changes[name].apply(value.clone()) for name, value in values.items()}


def test_a_merge_adds_the_adapter_to_the_nf4_values_that_bfloat16_training_saw(bfloat16_run, computed_with):
    model = tuned_model(bfloat16_run)
    facts = (model.base_folder, model.adapter_folder, model.trained_against, model.quantised_modules)
    merged, in_float32 = MergedWeights(*facts, model.quantised_from), MergedWeights(*facts)
    assert model.quantised_from == "bfloat16"
    for name, expected in computed_with.items():
        np.testing.assert_array_equal(merged.read(name), expected.numpy())
    assert any((in_float32.read(name) != expected.numpy()).any() for name, expected in computed_with.items())


def test_the_torch_reference_computes_with_the_same_values(bfloat16_run, computed_with):
    reference = open_torch(bfloat16_run).model
    for name, expected in computed_with.items():
        torch.testing.assert_close(reference.get_parameter(name), expected, atol=1e-6, rtol=1e-6)


def test_an_exported_file_holds_the_same_values(bfloat16_run, computed_with):
    import gguf

    artifact = export(bfloat16_run, "gguf", "f32")
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(artifact.main_file).tensors}
    name = "model.layers.0.mlp.down_proj.weight"
    np.testing.assert_array_equal(stored["blk.0.ffn_down.weight"], computed_with[name].numpy())


def test_an_export_depends_on_the_type_and_runs_without_a_record_mean_float32(bfloat16_run):
    bfloat16 = tuned_model(bfloat16_run)
    choices = {k: v for k, v in bfloat16_run.manifest.choices.items() if k != "dtype"}
    assert quantised_from(bfloat16_run.manifest.model_copy(update={"choices": choices})) == "float32"
    older = type(bfloat16)(**{**vars(bfloat16), "quantised_from": "float32"})
    assert inputs_sha256(bfloat16, "gguf", "f32") != inputs_sha256(older, "gguf", "f32")


@pytest.fixture
def gguf_run(tmp_path, monkeypatch):
    """A run over a plain .gguf file beside the recipe, whose cached copy is deleted."""
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    file = write_tiny_gguf(tmp_path / "base.gguf")
    made = dequantised(file, tmp_path / "cache" / "models")
    run = write_run(tmp_path / "run", made.folder, file, base_sha256=made.sha256)
    shutil.rmtree(run.adapter_folder)
    write_adapter(run.adapter_folder, hidden_size=64, intermediate_size=128, head_dim=16)
    return run


def test_a_deleted_copy_of_a_gguf_base_is_made_again(gguf_run):
    before = files.sha256_files(trained_base(gguf_run).folder)
    before.pop("edgetune.json")
    shutil.rmtree(gguf_run.folder.parent / "cache")
    model = tuned_model(gguf_run)
    again = files.sha256_files(model.base_folder)
    again.pop("edgetune.json")
    assert again == before
    assert model.base_sha256 == gguf_run.manifest.base_sha256
    shutil.rmtree(gguf_run.folder.parent / "cache")
    assert open_torch(gguf_run).tokenizer.stop_ids, "the reference goes through the same door"


def test_a_gguf_base_that_became_another_file_is_refused(gguf_run):
    file = gguf_run.folder.parent / "base.gguf"
    write_tiny_gguf(file, seed=3)
    assert trained_base(gguf_run).folder.is_dir(), "the copy is still what was trained on"
    shutil.rmtree(gguf_run.folder.parent / "cache")
    with pytest.raises(ModelError, match="is not the file that was trained on") as caught:
        tuned_model(gguf_run)
    assert str(file) in caught.value.hint
    assert not (gguf_run.folder.parent / "cache").exists(), "nothing was made of the wrong file"
    file.unlink()
    with pytest.raises(ModelError, match=r"nor its file at .*base\.gguf"):
        tuned_model(gguf_run)


def test_a_copy_of_another_file_is_not_taken_for_the_base(gguf_run):
    other = dequantised(write_tiny_gguf(gguf_run.folder / "other.gguf", seed=5), gguf_run.folder.parent / "elsewhere")
    gguf_run.update_manifest(base_folder=str(other.folder))
    assert trained_base(gguf_run).sha256 == gguf_run.manifest.base_sha256
    assert trained_base(gguf_run).folder != other.folder


def test_a_base_with_a_revision_is_found_where_it_lies(tmp_path):
    """A revision belongs to the hub, and the folder is what the hub gave."""
    base = write_base(tmp_path / "base")
    run = write_run(tmp_path / "run", base)
    recipe = run.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("revision: null", "revision: v1"))
    assert run.recipe.model.revision == "v1"
    assert tuned_model(run).base_folder == base
