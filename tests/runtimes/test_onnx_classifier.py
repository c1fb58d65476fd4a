"""The torch-free classifier: a graph made by hand, so that nothing need be trained."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tinyclassifier import tokenizer

from edgetune import files
from edgetune.api import load
from edgetune.artifact import Artifact, ArtifactManifest, open_artifact, write_manifest
from edgetune.bench.single_stream import bench_artifact
from edgetune.cli import main
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.runtimes import open_runtime
from edgetune.runtimes.fake_classifier import FakeClassifier
from edgetune.runtimes.onnx_classifier import OnnxClassifier
from edgetune.text_classifier import TextClassifier

#: Ids of "good" and "bad" in the tiny vocabulary.
GOOD, BAD = 5, 9


def write_classifier(folder, labels=("negative", "positive"), classes=2) -> Artifact:
    """Counts "bad" and "good" in a text: logits are [bads, goods] where there are two classes."""
    folder.mkdir(parents=True)
    table = np.zeros((23, classes), np.float32)
    table[BAD, 0] = table[GOOD, 1] = 1.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float_mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    shape = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "counts",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            onnx.numpy_helper.from_array(table, "table"),
            onnx.numpy_helper.from_array(np.array([2]), "last"),
            onnx.numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    tokenizer().save_pretrained(folder)
    hashes = dict(files.sha256_files(folder))
    manifest = ArtifactManifest(
        name="tiny-fp32",
        format="onnx",
        precision="fp32",
        runtime="onnxruntime",
        main_file="model.onnx",
        weights="merged",
        architecture="BertForSequenceClassification",
        base_source="x",
        base_sha256="x",
        merged_into="base",
        chat_template_sha256="",
        stop_ids=(),
        system=None,
        context_length=6,
        parameters=1,
        tensor_types={},
        fallbacks={},
        task="text-classification",
        labels=labels,
        sha256=hashes,
        size_bytes=sum((folder / name).stat().st_size for name in hashes),
        edgetune="0",
        created="2026-01-01T00:00:00Z",
    )
    return write_manifest(folder, manifest)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("c") / "fp32").path


def test_load_gives_a_classifier(folder):
    with load(folder, threads=1) as classifier:
        found = classifier.classify("good good bad")
        assert found.label == "positive"
        assert list(found.scores) == ["positive", "negative"]
        assert found.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)
        assert sum(found.scores.values()) == pytest.approx(1)
        several = classifier.classify(["bad", "good", "the film was bad"] * 30)
        assert [one.label for one in several] == ["negative", "positive", "negative"] * 30


def test_padding_and_what_is_beyond_the_longest_text_count_for_nothing(folder):
    runtime = OnnxClassifier(open_artifact(folder))
    assert runtime.logits(["good", "bad bad bad bad bad bad"]).tolist() == [[0, 1], [4, 0]]


def test_it_needs_no_torch(folder):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import edgetune; "
        f"print(edgetune.load({str(folder)!r}).classify('good').label)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "positive\n", done.stderr


def test_other_numbers_of_classes_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="names 3 classes, and its graph tells 2 apart"):
        OnnxClassifier(write_classifier(tmp_path / "c", labels=("a", "b", "c")))


def test_a_classifier_does_not_chat(folder):
    with pytest.raises(ArtifactError, match="is for text-classification: it writes no text"):
        open_runtime(folder)


def test_the_command_prints_classes(folder, capsys):
    assert main(["classify", str(folder), "good", "bad bad"]) == 0
    assert capsys.readouterr().out == "positive\t0.731\tgood\nnegative\t0.881\tbad bad\n"
    assert main(["classify", str(folder), "good", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label"] == "positive"
    assert list(told["scores"]) == ["positive", "negative"]


def test_what_is_no_classifier_is_refused(tmp_path, capsys):
    from tinyruns import write_artifact

    artifact = write_artifact(tmp_path / "gguf")
    assert main(["classify", str(artifact.path), "good"]) == 8
    assert "is no classifier" in capsys.readouterr().err


def test_bench_measures_latency_rate_and_memory(folder):
    report = bench_artifact(open_artifact(folder), prompts=4, rounds=3, starts=1, memory_rounds=1, threads=1)
    names = [figure.name for figure in report.figures]
    assert names == ["load_cold", "load_warm", "latency", "batch_rate", "peak_rss", "anonymous", "file_backed", "pss"]
    assert report.figure("latency").samples == 12
    assert report.figure("batch_rate").samples == 15
    assert report.settings.threads == 1
    assert "built-in general texts" in report.settings.prompt_source


def test_bench_refuses_what_only_generation_has(folder):
    with pytest.raises(EdgetuneError, match="a classifier has no kv types to vary"):
        bench_artifact(open_artifact(folder), kv_types=("f16",))


def test_the_fake_answers():
    with TextClassifier(FakeClassifier(("bad", "good"))) as classifier:
        assert [one.label for one in classifier.classify(["a good one", "none"])] == ["good", "bad"]
