"""An adapter that travels without its run is put on what it was trained over, or refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tinyruns import write_base
from tinytraining import write_recipe

from edgetune.adapters.origin import FILE, read_origin
from edgetune.adapters.tuned import tuned_from_adapter, tuned_model
from edgetune.errors import ModelError
from edgetune.exporters import find_exporter
from edgetune.training import train


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.set_num_threads(1)
    return write_base(tmp_path_factory.mktemp("origin") / "base")


@pytest.fixture(scope="module")
def run(base):
    recipe = write_recipe(
        base.parent / "recipe",
        base,
        task={"system": "Be brief."},
        method={"kind": "qlora"},
        train={"dtype": "bfloat16", "max_steps": 1, "evaluate_every": 1},
    )
    return train(recipe, base.parent / "run")


@pytest.fixture
def folder(run, tmp_path):
    return shutil.copytree(run.adapter_folder, tmp_path / "adapter")


def test_alone_it_becomes_the_model_that_its_run_is(run, base, folder, tmp_path, capsys):
    alone, whole = tuned_from_adapter(folder, str(base)), tuned_model(run)
    same = ("trained_against", "quantised_modules", "quantised_from", "base_sha256", "system")
    assert [getattr(alone, name) for name in same] == [getattr(whole, name) for name in same]
    assert alone.trained_against == "nf4"
    assert "nothing in" not in capsys.readouterr().err
    exporter = find_exporter("gguf")
    files = [exporter.export(model, "f32", tmp_path / name).main_file for name, model in (("a", alone), ("w", whole))]
    weights = [tensors(file) for file in files]
    assert weights[0] == weights[1]


def tensors(file):
    import gguf

    return {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(file).tensors}


def test_what_its_hash_proves_is_not_warned_of(base, folder, capsys):
    tuned_from_adapter(folder, str(shutil.copytree(base, folder.parent / "copy of the base")))
    assert "warning" not in capsys.readouterr().err


def test_on_another_machine_it_is_looked_for_as_the_recipe_named_it(run, folder, tmp_path, monkeypatch):
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(tmp_path / "cache of another machine")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    monkeypatch.chdir(shutil.copytree(run.manifest.base_folder, tmp_path / "base").parent)
    assert tuned_from_adapter(folder).base_folder == tmp_path / "base"
    assert tuned_from_adapter(folder).base_source == "base"


def test_of_a_file_that_was_unpacked_the_file_is_what_it_was_trained_on(folder, monkeypatch):
    """The settings name the cache that the file was unpacked into, which is still there and has another hash."""
    origin = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**origin, "base": "pkg:some_package/model.gguf"}))
    with pytest.raises(ModelError, match="some_package"):
        tuned_from_adapter(folder)


def test_another_base_is_refused(base, folder, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: 2 * value for name, value in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"was trained on 'base', and .* has other weights"):
        tuned_from_adapter(folder, str(other))


def test_it_names_no_folder_of_the_machine(folder, base):
    assert str(base.parent) not in (folder / FILE).read_text(encoding="utf-8")


def test_of_others_it_is_said_that_nobody_knows(base, folder, capsys):
    (folder / FILE).unlink()
    assert read_origin(folder) is None
    assert tuned_from_adapter(folder, str(base)).trained_against == "base"
    assert "says how its base was loaded" in " ".join(capsys.readouterr().err.split())


def test_a_damaged_record_is_said(base, folder):
    (folder / FILE).write_text("{}")
    with pytest.raises(ModelError, match="is not what edgetune stores with adapters"):
        tuned_from_adapter(folder, str(base))
