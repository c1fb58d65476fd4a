"""An image classifier from training to verified ONNX: every precision passes, and planted faults are caught."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from classifierruns import PRECISIONS, artifact, exported, require_passed
from onnx import numpy_helper
from tinyimages import LABELS, SMALL, picture, write_base, write_recipe

from edgetune import files
from edgetune.artifact import open_artifact, write_manifest
from edgetune.errors import ArtifactError, DataError
from edgetune.evaluation.subjects import evaluate_run
from edgetune.images.preprocessing import CONFIG
from edgetune.runtimes.classifying import open_classifier
from edgetune.runtimes.torch_classifier import open_torch_classifier
from edgetune.verification.choosing import verifier_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return exported(write_recipe(folder / "r", write_base(folder / "resnet")), folder / "run")


@pytest.fixture(scope="module")
def verifier(run):
    return verifier_of(run)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_the_trained_model(run, verifier, precision):
    found = verifier.verify(artifact(run, precision))
    require_passed(found)
    assert found.checks[2].text == "16 of 16 images have the same pixel values"


def test_the_graph_takes_any_batch_and_answers_as_torch_does(run):
    pictures = [picture(n, (40 + n, 30)) for n in range(5)]
    reference, exported = open_torch_classifier(run), open_classifier(artifact(run, "fp32"))
    together = exported.logits(pictures)
    assert np.allclose(together, reference.logits(pictures), atol=1e-4)
    assert np.allclose(together, np.concatenate([exported.logits([one]) for one in pictures]), atol=1e-4)


def test_an_artifact_says_what_it_is(run):
    manifest = artifact(run, "int8_static").manifest
    assert manifest.task == "image-classification"
    assert manifest.labels == LABELS
    assert manifest.architecture == "ResNetForImageClassification"
    assert manifest.calibration_sha256 == files.sha256_file(run.train_file)
    folder = run.exports_folder / "int8_static"
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "blue", "1": "red"}
    facts = {one.key: one.value for one in onnx.load(folder / "model.onnx").metadata_props}
    assert json.loads(facts["edgetune.preprocessing"])["mean"] == list(SMALL.mean)
    assert str(run.folder) not in json.dumps(facts)


def test_static_eight_bits_round_the_convolutions(run):
    kinds = [node.op_type for node in onnx.load(artifact(run, "int8_static").main_file).graph.node]
    assert "QuantizeLinear" in kinds
    assert manifest_kinds(run, "int8_static").get("INT8", 0) >= 4


def manifest_kinds(run, precision):
    return artifact(run, precision).manifest.tensor_types


def test_calibration_sees_training_rows_only(run):
    from edgetune_onnx.tracing import calibration_batches

    from edgetune.adapters.tuned import tuned_model

    model = tuned_model(run)
    seen = [batch["pixel_values"] for batch in calibration_batches(model, model.calibration)]
    assert len(seen) == 48
    own = [json.loads(line)["image"] for line in run.train_file.read_text().splitlines()]
    assert all(
        np.allclose(s[0], SMALL.pixels(run.data_folder / name), atol=1e-6) for s, name in zip(seen, own, strict=True)
    )


def test_evaluations_have_intervals_a_baseline_and_names_that_say_no_folder(run):
    base, tuned = evaluate_run(run, "base"), evaluate_run(run, artifact(run, "fp32"))
    assert base.score("accuracy").value == 0.5
    assert tuned.score("accuracy").value == 1.0
    assert all(answer.prompt.startswith("images/") for answer in tuned.answers)


def test_rows_from_elsewhere_are_evaluated(run, tmp_path):
    from tinyimages import write_pictures

    found = evaluate_run(run, artifact(run, "fp32"), data=write_pictures(tmp_path / "new", 6, start=200))
    assert found.n == 6
    assert found.score("accuracy").value == 1.0
    picture(1).save(tmp_path / "new" / "red" / "x.png")
    (tmp_path / "new" / "red" / "y.png").write_text("no image")
    with pytest.raises(DataError, match="1 problem in 8 rows"):
        evaluate_run(run, artifact(run, "fp32"), data=tmp_path / "new")


def copied(run, tmp_path, precision="fp32"):
    shutil.copytree(run.exports_folder / precision, tmp_path / "copy")
    (tmp_path / "copy" / "verify.json").unlink(missing_ok=True)
    return tmp_path / "copy"


def changed(folder, *, settings=None, graph=None, **manifest):
    """Change files, and the manifest so that its hashes fit: what whoever changed them could write as well."""
    stored = open_artifact(folder).manifest
    if settings:
        file = folder / CONFIG
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    if graph:
        model = onnx.load(folder / "model.onnx")
        graph(model.graph)
        onnx.save(model, folder / "model.onnx")
    hashes = {name: files.sha256_file(folder / name) for name in stored.sha256}
    size = sum((folder / name).stat().st_size for name in hashes)
    return write_manifest(folder, stored.model_copy(update={"sha256": hashes, "size_bytes": size, **manifest}))


def failed(verifier, artifact):
    return {check.name for check in verifier.verify(artifact).failed}


FAULTS = {
    "mean": {"image_mean": [0.5, 0.5, 0.5]},
    "deviation": {"image_std": [0.5, 0.5, 0.5]},
    "not rescaled": {"rescale_factor": 1.0},
    "size": {"size": {"shortest_edge": 32}},
    "blue first": {"do_flip_channel_order": True},
    "filter": {"resample": 0},
}


@pytest.mark.parametrize("settings", FAULTS.values(), ids=FAULTS)
def test_another_preprocessing_is_caught_twice(run, verifier, tmp_path, settings):
    found = verifier.verify(changed(copied(run, tmp_path), settings=settings))
    assert {"metadata", "inputs"} <= {check.name for check in found.failed}
    (inputs,) = [check for check in found.checks if check.name == "inputs"]
    assert "means of its channels" in inputs.problems[0]
    assert "order of colours" in inputs.cause


def test_channels_swapped_inside_the_graph_are_caught(run, verifier, tmp_path):
    """RGB taken for BGR where no file says so: the first convolution reads the channels in the other order."""

    def swap(graph):
        (first,) = [one for one in graph.initializer if len(one.dims) == 4 and one.dims[1] == 3]
        value = np.ascontiguousarray(numpy_helper.to_array(first)[:, ::-1])
        first.CopyFrom(numpy_helper.from_array(value, first.name))

    assert {"distributions", "task"} <= failed(verifier, changed(copied(run, tmp_path), graph=swap))


def test_a_swapped_label_map_is_caught(run, verifier, tmp_path):
    folder = copied(run, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "red", "1": "blue"}, "label2id": {"red": 0, "blue": 1}}
    manifest = open_artifact(folder).manifest
    (folder / "config.json").write_text(json.dumps(config))
    size = sum((folder / name).stat().st_size for name in manifest.sha256)
    write_manifest(folder, manifest.model_copy(update={"size_bytes": size}))
    assert {"metadata", "inputs"} <= failed(verifier, changed(folder, labels=("red", "blue")))


def test_a_bad_calibration_is_caught(run, verifier, tmp_path):
    """Ranges of activations from pictures that have nothing of the held-out ones: a twentieth of what is there."""

    def narrow(graph):
        scales = {node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"}
        assert scales
        for tensor in graph.initializer:
            if tensor.name in scales:
                value = numpy_helper.to_array(tensor) / 20
                tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))

    assert "distributions" in failed(verifier, changed(copied(run, tmp_path, "int8_static"), graph=narrow))


def test_another_size_than_the_graph_takes_is_told_when_it_is_opened(run, tmp_path):
    folder = copied(run, tmp_path)
    with pytest.raises(ArtifactError, match=r"its graph takes images of \[3, 32, 32\]"):
        open_classifier(changed(folder, settings={"crop_size": {"height": 16, "width": 16}}))


def test_a_text_classifier_is_not_opened_as_one_for_images(run):
    from edgetune.runtimes.onnx_classifier import OnnxClassifier

    with pytest.raises(ArtifactError, match="is not for text-classification: it is for image-classification"):
        OnnxClassifier(artifact(run, "fp32"))
