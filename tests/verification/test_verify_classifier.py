"""A classifier from training to verified ONNX: every precision passes, and planted faults are caught."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from classifierruns import PRECISIONS, artifact, exported, require_passed
from onnx import numpy_helper
from tinyclassifier import rows, write_base, write_recipe
from tokenizers import Tokenizer

from edgetune import files
from edgetune.artifact import open_artifact, write_manifest
from edgetune.errors import EdgetuneError, ExportError
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import export
from edgetune.runtimes.onnx_classifier import OnnxClassifier, open_tokenizer
from edgetune.runtimes.torch_classifier import open_torch_classifier
from edgetune.verification.choosing import verifier_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return exported(write_recipe(folder / "r", write_base(folder / "bert")), folder / "run")


@pytest.fixture(scope="module")
def verifier(run):
    return verifier_of(run)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_the_trained_model(run, verifier, precision):
    found = verifier.verify(artifact(run, precision))
    require_passed(found)
    assert "24 rows" in found.checks[-1].text


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_size_is_predicted(run, precision):
    from edgetune_onnx.classifier import plan

    from edgetune.adapters.tuned import tuned_model

    weights = sum(
        value.nbytes
        for value in map(numpy_helper.to_array, onnx.load(artifact(run, precision).main_file).graph.initializer)
    )
    tokenizer = sum(
        (run.tokenizer_folder / name).stat().st_size for name in ("tokenizer.json", "tokenizer_config.json")
    )
    assert plan(tuned_model(run), precision).size_bytes == pytest.approx(weights + tokenizer, rel=0.25)


def test_the_graph_takes_any_batch_and_length(run):
    texts = ["good", "the film was very bad and dull", "fine " * 60]
    reference, exported = open_torch_classifier(run), OnnxClassifier(artifact(run, "fp32"))
    together = exported.logits(texts)
    assert np.allclose(together, reference.logits(texts), atol=1e-4)
    assert np.allclose(together, np.concatenate([exported.logits([text]) for text in texts]), atol=1e-4)
    assert [len(exported.encode(text)) for text in texts] == [3, 9, 32]


def test_what_the_tokenizer_file_says_of_cutting_and_padding_is_left_aside(run, tmp_path):
    baked = Tokenizer.from_file(str(run.exports_folder / "fp32" / "tokenizer.json"))
    baked.enable_truncation(4)
    baked.enable_padding(length=24)
    baked.save(str(tmp_path / "tokenizer.json"))
    text = "good bad good bad good bad"
    assert len(baked.encode(text).ids) == 24
    assert len(open_tokenizer(tmp_path / "tokenizer.json", 32).encode(text).ids) == 8
    assert len(OnnxClassifier(artifact(run, "fp32")).encode(text)) == 8


def test_control_tokens_in_a_text_are_text(run):
    exported, trained = OnnxClassifier(artifact(run, "fp32")), open_torch_classifier(run)
    ids = exported.encode("good [SEP] bad")
    assert ids == trained.encode("good [SEP] bad")
    assert ids.count(3) == 1


def test_an_artifact_says_what_it_is(run):
    manifest = artifact(run, "int8_static").manifest
    assert manifest.task == "text-classification"
    assert manifest.labels == ("negative", "positive")
    assert manifest.calibration_sha256 == files.sha256_file(run.train_file)
    assert manifest.architecture == "BertForSequenceClassification"
    config = json.loads((run.exports_folder / "int8_static" / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert str(run.folder) not in json.dumps(config)


def test_calibration_never_sees_held_out_rows(run, monkeypatch):
    from edgetune_onnx import classifier_graph

    from edgetune.adapters.tuned import tuned_model

    model = tuned_model(run)
    seen = [batch["input_ids"].tolist()[0] for batch in classifier_graph.calibration_batches(model, model.calibration)]
    trained = open_torch_classifier(run)
    assert seen == [trained.encode(row["text"]) for row in rows(64)]


def test_evaluations_have_intervals_and_a_baseline(run):
    base, tuned = evaluate_run(run, "base"), evaluate_run(run, artifact(run, "fp32"))
    assert base.score("accuracy").value == 0.5
    accuracy, macro = tuned.score("accuracy"), tuned.score("macro_f1")
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert macro.low <= macro.value <= macro.high
    assert [score.name for score in tuned.scores][-2:] == ["f1 of negative", "f1 of positive"]
    fewer = evaluate_run(run, artifact(run, "fp32"), limit=8)
    assert fewer.n == 8
    assert set(fewer.basis.rows) <= set(tuned.basis.rows)


def copied(run, tmp_path, precision="fp32"):
    shutil.copytree(run.exports_folder / precision, tmp_path / "copy")
    (tmp_path / "copy" / "verify.json").unlink(missing_ok=True)
    return tmp_path / "copy"


def sealed(folder, **changes):
    """The manifest of changed files: what whoever changed them could write as well."""
    manifest = open_artifact(folder, check_hashes=False).manifest if not changes.pop("force", None) else None
    hashes = {name: files.sha256_file(folder / name) for name in manifest.sha256}
    size = sum((folder / name).stat().st_size for name in hashes)
    return write_manifest(folder, manifest.model_copy(update={"sha256": hashes, "size_bytes": size, **changes}))


def rewrite(folder, change):
    """Change a folder's graph; the size may change, so the manifest is written around it."""
    manifest = open_artifact(folder).manifest
    graph = onnx.load(folder / "model.onnx")
    change(graph)
    onnx.save(graph, folder / "model.onnx")
    hashes = {name: files.sha256_file(folder / name) for name in manifest.sha256}
    size = sum((folder / name).stat().st_size for name in hashes)
    return write_manifest(folder, manifest.model_copy(update={"sha256": hashes, "size_bytes": size}))


def test_a_changed_file_is_caught_by_its_hash(run, verifier, tmp_path):
    folder = copied(run, tmp_path)
    with (folder / "model.onnx").open("r+b") as file:
        file.seek(2000)
        file.write(b"\0\1\2\3")
    found = verifier.verify(open_artifact(folder))
    assert [check.name for check in found.failed] == ["file"]


def test_a_swapped_label_map_is_caught(run, verifier, tmp_path):
    """Swapped everywhere, hashes made to fit: only the run knows better."""
    folder = copied(run, tmp_path)
    swapped = ("positive", "negative")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (folder / "config.json").write_text(json.dumps(config))

    def swap(graph):
        for fact in graph.metadata_props:
            if fact.key == "edgetune.labels":
                fact.value = json.dumps(swapped)

    manifest = open_artifact(run.exports_folder / "fp32").manifest
    write_manifest(folder, manifest.model_copy(update={"size_bytes": size_of(folder, manifest)}))
    rewrite(folder, swap)
    found = verifier.verify(sealed(folder, labels=swapped))
    assert {"metadata", "inputs"} <= {check.name for check in found.failed}
    (metadata,) = [check for check in found.checks if check.name == "metadata"]
    assert "manifest.json: classes are positive, negative, trained with negative, positive" in metadata.problems
    assert any("edgetune.labels" in problem for problem in metadata.problems)
    assert any("config.json: id2label" in problem for problem in metadata.problems)


def size_of(folder, manifest):
    return sum((folder / name).stat().st_size for name in manifest.sha256)


def test_swapped_outputs_under_the_right_names_are_caught(run, verifier, tmp_path):
    folder = copied(run, tmp_path)

    def swap(graph):
        for tensor in graph.graph.initializer:
            if "classifier" in tensor.name:
                value = numpy_helper.to_array(tensor)
                axis = value.shape.index(2)
                tensor.CopyFrom(numpy_helper.from_array(np.flip(value, axis).copy(), tensor.name))

    found = verifier.verify(rewrite(folder, swap))
    assert {"distributions", "task"} <= {check.name for check in found.failed}
    assert "metadata" not in {check.name for check in found.failed}


def test_another_tokenizer_is_caught(run, verifier, tmp_path):
    folder = copied(run, tmp_path)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"lowercase": true', '"lowercase":false'))
    found = verifier.verify(sealed(folder))
    assert "metadata" in {check.name for check in found.failed}


def test_a_bad_calibration_is_caught(run, verifier, tmp_path):
    """Ranges of activations from texts that have nothing of the held-out ones: here a twentieth of what is there."""
    folder = copied(run, tmp_path, "int8_static")

    def narrow(graph):
        scales = {node.input[1] for node in graph.graph.node if node.op_type == "QuantizeLinear"}
        assert scales
        for tensor in graph.graph.initializer:
            if tensor.name in scales:
                value = numpy_helper.to_array(tensor) / 20
                tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))

    found = verifier.verify(rewrite(folder, narrow))
    assert "distributions" in {check.name for check in found.failed}


def test_other_formats_and_separate_adapters_are_refused_by_name(run):
    from edgetune.adapters.tuned import tuned_model
    from edgetune.exporting_parts import separate_parts

    with pytest.raises(ExportError, match="'gguf' cannot hold a model for text-classification"):
        export(run, "gguf", "q8_0")
    with pytest.raises(ExportError, match="a classifier's adapter has a head"):
        separate_parts(tuned_model(run), "onnx", (), None, run.exports_folder)
    with pytest.raises(ExportError, match="'int4' is no precision of a classifier"):
        export(run, "onnx", "int4")
    with pytest.raises(EdgetuneError, match="--portable is for models that generate"):
        verifier_of(run).verify(artifact(run, "fp32"), portable=True)
