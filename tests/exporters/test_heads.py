"""Heads that were trained whole (``modules_to_save``) survive: merged in every format, or refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tinyimages
import torch
import transformers
from edgetune_gguf import GgufExporter
from edgetune_onnx import OnnxExporter
from peft import LoraConfig, get_peft_model
from tinyclassifier import write_base, write_recipe
from tinyexports import SIZES, save_tokenizer

from edgetune.cli import main
from edgetune.errors import ExportError
from edgetune.exporting import export
from edgetune.runtimes import open_runtime
from edgetune.runtimes.onnx_classifier import OnnxClassifier
from edgetune.runtimes.torch_classifier import open_torch_classifier
from edgetune.training import train

TOKENS = list(range(3, 35))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    ("exporter", "precision"), [(GgufExporter(), "f32"), (OnnxExporter(), "fp32")], ids=["gguf", "onnx"]
)
@pytest.mark.parametrize("saved", [["lm_head"], ["lm_head", "norm"]], ids=str)
def test_a_merged_model_has_the_trained_head(make, tiny, tmp_path, exporter, precision, tied, saved):
    settings = {"target_modules": ["q_proj", "down_proj"], "modules_to_save": saved}
    model, tuned, plain = make(model_settings={"tie_word_embeddings": tied}, **settings)
    artifact = exporter.export(model, precision, tmp_path / "export")
    expected = tiny.torch_logits(tuned, TOKENS)
    in_llama = artifact.manifest.format == "gguf"  # asked without its runtime, whose cache is in half floats
    found = tiny.llama_logits(artifact.main_file, TOKENS) if in_llama else open_runtime(artifact).logits(TOKENS)
    spread = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-3 * spread)
    assert np.abs(tiny.torch_logits(plain, TOKENS) - expected).max() > 0.05 * spread, "the base's head is another"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    recipe = write_recipe(folder / "r", write_base(folder / "bert"), train={"max_steps": 8, "evaluate_every": 8})
    return train(recipe, folder / "run")


def test_the_head_of_a_classifier_is_the_trained_one(classifier):
    """Two heads drawn at random differ; the file's is that of the adapter."""
    from safetensors.torch import load_file

    stored = load_file(classifier.adapter_folder / "adapter_model.safetensors")
    assert any("classifier" in name for name in stored), "the head is stored whole"
    artifact = export(classifier, "onnx", "fp32")
    texts = ["good film", "bad plot and a dull end", "the story was fine"]
    expected = open_torch_classifier(classifier).logits(texts)
    assert np.allclose(OnnxClassifier(artifact).logits(texts), expected, atol=1e-4)


@pytest.mark.parametrize("format", ["onnx", "gguf"])
def test_a_classifier_apart_from_its_base_is_refused(classifier, format, capsys):
    assert (
        main(["export", str(classifier.folder), "--format", format, "--adapter", "separate"]) == ExportError.exit_code
    )
    said = capsys.readouterr().err
    assert "a classifier's adapter has a head that no runtime puts on a base" in said
    assert "hint: export it without --adapter separate" in said
    assert not list(classifier.exports_folder.glob("adapter*"))


@pytest.fixture
def foreign(tmp_path):
    """An adapter with a classifier's head, as PEFT saves it, on a causal base that could be exported."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    save_tokenizer(tmp_path / "base")
    config.num_labels = 3
    model = transformers.LlamaForSequenceClassification(config)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="SEQ_CLS"))
    adapted.save_pretrained(tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(tmp_path / "base")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    return tmp_path / "adapter"


@pytest.mark.parametrize("how", [(), ("--adapter", "separate")], ids=["merged", "separate"])
@pytest.mark.parametrize("format", ["onnx", "gguf"])
def test_a_head_that_the_base_lacks_is_never_dropped(foreign, tmp_path, format, how, capsys):
    assert main(["export", str(foreign), "--format", format, "--output", str(tmp_path / "out"), *how]) != 0
    said = capsys.readouterr().err
    assert "score" in said
    assert "hint:" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", [(), ("--adapter", "separate")], ids=["merged", "separate"])
def test_an_adapter_of_a_classifier_of_images_is_refused_without_its_run(tmp_path, how, capsys):
    """PEFT has no task for images, so its settings do not tell."""
    run = train(
        tinyimages.write_recipe(tmp_path / "recipe", tinyimages.write_base(tmp_path / "base")), tmp_path / "run"
    )
    words = ["export", str(run.adapter_folder), "--base", str(tmp_path / "base"), "--format", "onnx", *how]
    assert main([*words, "--output", str(tmp_path / "out")]) == ExportError.exit_code
    said = capsys.readouterr().err
    assert "is an adapter of a classifier (ResNetForImageClassification)" in said
    assert "hint: export the run that it is of" in said
    assert not (tmp_path / "out").exists()
