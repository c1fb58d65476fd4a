"""Classifiers in ONNX Runtime's own format: the same model, what it needs of a runtime, and planted faults."""

from __future__ import annotations

import logging
import re
import shutil

import numpy as np
import onnx
import pytest
from classifierruns import PRECISIONS as NUMBERS
from classifierruns import artifact, exported
from edgetune_onnx import ort_format
from edgetune_onnx.precision import parse_precision
from onnx import numpy_helper
from tinyclassifier import rows, write_base, write_recipe

from edgetune import files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import open_artifact, write_manifest
from edgetune.bench.single_stream import bench_artifact
from edgetune.errors import ArtifactError, ExportError
from edgetune.exporting import export
from edgetune.runtimes.onnx_classifier import OnnxClassifier
from edgetune.verification.choosing import verifier_of

TEXTS = [row["text"] for row in rows(12, start=200)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ort")
    both = [name for numbers in NUMBERS for name in (numbers, f"{numbers}_ort")]
    return exported(write_recipe(folder / "r", write_base(folder / "bert")), folder / "run", both)


@pytest.fixture(scope="module")
def verifier(run):
    return verifier_of(run)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_it_is_the_same_model(run, verifier, numbers):
    plain, mobile = (OnnxClassifier(artifact(run, name)) for name in (numbers, f"{numbers}_ort"))
    assert mobile.labels == plain.labels
    assert np.allclose(mobile.logits(TEXTS), plain.logits(TEXTS), atol=1e-4)
    found = verifier.verify(artifact(run, f"{numbers}_ort"))
    assert found.passed, found.failed
    assert found.precision_class == verifier.verify(artifact(run, numbers)).precision_class


def test_what_it_needs_of_a_runtime_lies_beside_it(run):
    found = artifact(run, "int8_ort")
    assert found.main_file.name == "model.ort"
    assert {"model.ort", ort_format.OPERATORS} <= set(found.manifest.sha256)
    assert not (found.path / "model.onnx").exists()
    operators = (found.path / ort_format.OPERATORS).read_text()
    assert "com.microsoft;1;" in operators, "eight bits need operators of ONNX Runtime's own"
    assert re.search(r"^ai\.onnx;\d+;.*Gather", operators, re.MULTILINE)
    assert "/" not in operators, "no path of the machine that wrote it"


def test_a_graph_of_another_order_is_caught(run, verifier, tmp_path):
    """The outputs swapped under the right names, and hashes made to fit."""
    graph = onnx.load(artifact(run, "fp32").main_file)
    for tensor in graph.graph.initializer:
        if "classifier" in tensor.name:
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.flip(value, value.shape.index(2)).copy(), tensor.name))
    found = verifier.verify(sealed(run, tmp_path, lambda file: onnx.save(graph, file)))
    assert {"distributions", "task"} <= {check.name for check in found.failed}


def test_other_names_in_the_graph_are_caught(run, verifier, tmp_path):
    def rename(file):
        graph = onnx.load(artifact(run, "fp32").main_file)
        for fact in graph.metadata_props:
            if fact.key == "edgetune.labels":
                fact.value = '["positive", "negative"]'
        onnx.save(graph, file)

    found = verifier.verify(sealed(run, tmp_path, rename))
    (metadata,) = [check for check in found.failed if check.name == "metadata"]
    assert any(problem.startswith("model.ort: edgetune.labels") for problem in metadata.problems)


def sealed(run, tmp_path, write):
    """A copy with another graph, and a manifest that fits it."""
    folder = tmp_path / "copy"
    shutil.copytree(run.exports_folder / "fp32_ort", folder)
    (folder / "verify.json").unlink(missing_ok=True)
    write(folder / "model.onnx")
    ort_format.convert(folder / "model.onnx")
    manifest = artifact(run, "fp32_ort").manifest
    hashes = {name: files.sha256_file(folder / name) for name in manifest.sha256}
    size = sum((folder / name).stat().st_size for name in hashes)
    return write_manifest(folder, manifest.model_copy(update={"sha256": hashes, "size_bytes": size}))


def test_a_damaged_file_is_told(run, verifier, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.exports_folder / "int8_ort", folder)
    data = (folder / "model.ort").read_bytes()
    (folder / "model.ort").write_bytes(data[:200] + bytes(len(data) - 200))
    assert [check.name for check in verifier.verify(open_artifact(folder)).failed] == ["file"]
    with pytest.raises(ArtifactError, match="onnxruntime cannot load"):
        OnnxClassifier(open_artifact(folder))
    with pytest.raises(ArtifactError, match="onnxruntime cannot load"):
        ort_format.read_facts(folder / "model.ort")


def test_a_stray_graph_beside_it_is_caught(run, verifier, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.exports_folder / "int8_ort", folder)
    (folder / "other.ort").write_bytes(b"")
    (check,) = verifier.verify(open_artifact(folder)).failed
    assert check.problems == ("other.ort: not in the manifest, and programs may read it",)


def test_what_cannot_be_converted_is_one_message(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"cannot write this graph as \.ort") as raised:
        ort_format.convert(tmp_path / "model.onnx")
    assert "without _ort" in raised.value.hint


def test_the_process_logs_as_before(run, tmp_path):
    before = logging.getLogger().handlers[:]
    shutil.copyfile(artifact(run, "fp32").main_file, tmp_path / "model.onnx")
    ort_format.convert(tmp_path / "model.onnx")
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("name", ["int4_ort", "ort", "int8_ort_ort", "int4_gptq"])
def test_there_is_no_such_precision(run, name):
    with pytest.raises(ExportError, match="is no precision of a classifier") as raised:
        export(run, "onnx", name)
    assert "int8_ort" in raised.value.hint


def test_models_that_generate_have_none():
    with pytest.raises(ExportError, match="no precision 'int8_ort'") as raised:
        parse_precision("int8_ort")
    assert "for classifiers" in raised.value.hint


def test_static_eight_bits_need_rows(run):
    from dataclasses import replace

    from edgetune_onnx import classifier

    with pytest.raises(ExportError, match="int8_static_ort needs training rows"):
        classifier.plan(replace(tuned_model(run), calibration=None), "int8-static-ort")


def test_it_is_measured(run):
    few = {"prompts": 2, "rounds": 1, "starts": 1, "memory_rounds": 1, "threads": 1}
    report = bench_artifact(artifact(run, "int8_ort"), **few)
    assert {"latency", "peak_rss"} <= {figure.name for figure in report.figures}
