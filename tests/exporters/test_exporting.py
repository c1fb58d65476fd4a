"""From a run or a model to artifacts, as functions and on the command line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from rowfiles import write_rows
from tinyruns import ROWS

from edgetune.adapters.merging import MergedWeights
from edgetune.adapters.tuned import tuned_from_model, tuned_model
from edgetune.artifact import open_artifact
from edgetune.cli.export import export as command
from edgetune.errors import CheckFailed, EdgetuneError, ExportError, ModelError
from edgetune.exporting import export, export_model, find_source
from edgetune.models import resolve_base
from edgetune.recipe import ModelSettings, Resolved, validate
from edgetune.run import create_run
from edgetune.verification.record import load, warning

MERGED_READ = MergedWeights.read


@pytest.fixture
def base(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama")
    (tmp_path / "base/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return tmp_path / "base"


@pytest.fixture
def run(tmp_path, tiny, base):
    """A trained run with a LoRA adapter, made by hand."""
    recipe = validate(
        {
            "name": "lights",
            "model": {"source": "base"},
            "task": {"system": "Answer in JSON"},
            "exports": [{"format": "gguf", "quant": ["q8_0", "f16"]}],
        },
        "test",
    )
    run = create_run(Resolved(recipe, {}, tmp_path / "recipe.yaml"), tmp_path / "run", created="now", version="0")
    model = tiny.save_model(tmp_path / "same", "Llama")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape)
    adapted.save_pretrained(run.adapter_folder)
    tiny.save_tokenizer(run.tokenizer_folder)
    run.data_folder.mkdir()
    write_rows(run.heldout_file, ROWS)
    found = resolve_base(ModelSettings(source=str(base)), tmp_path)
    run.update_manifest(
        state="trained", base_folder=str(base), base_sha256=found.sha256, trained_against="base", base_source="base"
    )
    return run


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))


def invoke(*words):
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


def test_a_run_becomes_a_tuned_model(run, base):
    model = tuned_model(run)
    assert (model.name, model.run, model.system) == ("lights", "run", "Answer in JSON")
    assert (model.base_folder, model.adapter_folder) == (base, run.adapter_folder)
    assert (model.trained_against, model.licence) == ("base", "apache-2.0")


def test_a_run_trained_whole_needs_no_adapter(run, base):
    shutil.rmtree(run.adapter_folder)
    shutil.copytree(base, run.model_folder)
    model = tuned_model(run)
    assert (model.base_folder, model.adapter_folder, model.trained_against) == (run.model_folder, None, None)
    artifact = export(run, "gguf", "f16")
    assert artifact.manifest.weights == "whole"
    first = artifact.manifest.inputs_sha256
    weights = run.model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert export(run, "gguf", "f16").manifest.inputs_sha256 != first, "its own weights count, not only the base"


def test_a_run_that_cannot_be_exported_says_why(run, base):
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\0\0")
    with pytest.raises(ModelError, match="has changed since training"):
        tuned_model(run)
    weights.write_bytes(whole)
    base.rename(base.with_name("elsewhere"))
    with pytest.raises(ModelError, match="no longer at"):
        tuned_model(run)
    base.with_name("elsewhere").rename(base)
    shutil.rmtree(run.adapter_folder)
    with pytest.raises(EdgetuneError, match="neither adapter nor model"):
        tuned_model(run)
    run.update_manifest(state="prepared")
    with pytest.raises(EdgetuneError, match="not trained yet") as caught:
        tuned_model(run)
    assert caught.value.hint == f"edgetune train --resume {run.folder}"


def test_an_export_is_repeated_only_when_something_changed(run, capsys):
    artifact = export(run, "gguf", "q8_0")
    assert artifact.path == run.exports_folder / "q8_0"
    written = artifact.main_file.stat().st_mtime_ns
    assert export(run, "gguf", "Q8_0").manifest == artifact.manifest
    assert artifact.main_file.stat().st_mtime_ns == written
    assert "up to date" in capsys.readouterr().err
    artifact.main_file.write_bytes(artifact.main_file.read_bytes()[:-1] + b"\xff")
    export(run, "gguf", "q8_0")
    open_artifact(artifact.path, check_hashes=True)
    config = run.adapter_folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 64}))
    changed = export(run, "gguf", "q8_0")
    assert changed.manifest.inputs_sha256 != artifact.manifest.inputs_sha256
    assert changed.manifest.sha256 != artifact.manifest.sha256


def test_a_model_can_be_exported_untuned(tmp_path, base):
    source = find_source(str(base))
    artifact = export_model(source.model, "gguf", "q8_0", tmp_path / "out")
    assert (artifact.manifest.name, artifact.manifest.weights, artifact.manifest.run) == ("base-q8_0", "base", None)
    again = tuned_from_model(ModelSettings(source=str(artifact.main_file)), tmp_path)
    second = export_model(again, "gguf", "q8_0", tmp_path / "second")
    assert second.manifest.tensor_types == artifact.manifest.tensor_types


def test_the_command_plans_writes_and_lists(run):
    result = invoke(run.folder, "--quant", "q4_k_m", "--quant", "q8_0", "--no-verify")
    assert result.exit_code == 0
    assert "lights as q4_k_m: about" in result.stderr
    assert "Q5_0 instead of Q4_K: 64 columns are not a multiple of 256" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["file", "size", "tensors", "weights"]
    assert "lights-q4_k_m.gguf" in lines[1]
    assert lines[2].endswith("merged into base")
    assert open_artifact(run.exports_folder / "q4_k_m", check_hashes=True)
    assert not (run.exports_folder / "q4_k_m/verify.json").exists()


def test_the_command_follows_the_recipe_and_prints_json(run):
    result = invoke(run.folder, "--json")
    found = json.loads(result.stdout)
    assert [artifact["precision"] for artifact in found["artifacts"]] == ["q8_0", "f16"]
    assert found["plans"][0]["tensor_types"] == found["artifacts"][0]["tensor_types"]


def test_what_was_exported_is_verified(run):
    result = invoke(run.folder, "--quant", "f16")
    assert "lights-f16: verified" in result.stderr
    assert load(open_artifact(run.exports_folder / "f16")).passed
    again = invoke(run.folder, "--quant", "f16")
    assert "is up to date" in again.stderr
    assert "lights-f16: verified" in again.stderr


def test_an_export_that_is_not_the_model_ends_with_a_code(run, monkeypatch):
    monkeypatch.setattr(MergedWeights, "read", lambda self, name: 0 * MERGED_READ(self, name))
    with pytest.raises(CheckFailed, match="lights-f16 is not the trained model: weights") as caught:
        invoke(run.folder, "--quant", "f16")
    assert "edgetune verify" in caught.value.hint
    assert "lights-f16 is unverified" in warning(open_artifact(run.exports_folder / "f16"))


def test_without_held_out_rows_nothing_can_be_verified(run):
    run.heldout_file.unlink()
    with pytest.raises(EdgetuneError, match="no held-out rows") as caught:
        invoke(run.folder, "--quant", "f16")
    assert "--no-verify" in caught.value.hint


def test_dora_that_is_refused_leaves_no_base(run, tiny, tmp_path):
    model = tiny.save_model(tmp_path / "same", "Llama")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], use_dora=True))
    for name, parameter in adapted.named_parameters():
        if "magnitude" in name:
            parameter.data = parameter.data * (1 + torch.rand(parameter.shape))
    shutil.rmtree(run.adapter_folder)
    adapted.save_pretrained(run.adapter_folder)
    with pytest.raises(ExportError, match="has no low rank"):
        invoke(run.folder, "--adapter", "separate", "--with-base", "f16")
    assert [path.name for path in run.exports_folder.glob("*")] == []


def test_what_comes_from_no_run_is_said_to_be_unverified(run, base, tmp_path):
    result = invoke(run.adapter_folder, "--base", base, "--quant", "f16", "--output", tmp_path / "out")
    assert "nothing is verified: this comes from no run" in result.stderr
    said = f"nothing in {run.adapter_folder} says how its base was loaded for training"
    assert said in result.stderr
    assert said not in invoke(run.folder, "--quant", "f16", "--no-verify").stderr, "a run knows"


def test_a_plan_writes_nothing(run, tmp_path):
    result = invoke(run.folder, "--plan", "--output", tmp_path / "out")
    assert "lights as q8_0" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not run.exports_folder.exists()


def test_all_precisions_are_checked_before_the_first_is_written(run):
    with pytest.raises(ExportError, match="unknown GGUF precision 'q9'"):
        invoke(run.folder, "--quant", "q8_0", "--quant", "q9")
    assert not run.exports_folder.exists()


def test_other_formats_and_artifacts_are_refused_by_name(run):
    with pytest.raises(ExportError, match="no exporter for format 'tflite'") as caught:
        invoke(run.folder, "--format", "tflite")
    assert "gguf" in caught.value.hint
    export(run, "gguf", "q8_0")
    with pytest.raises(ExportError, match="is an artifact already"):
        find_source(str(run.exports_folder / "q8_0"))
