"""The folder: complete, loadable by others, whole or not there at all."""

from __future__ import annotations

import json
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from edgetune_onnx import OnnxExporter, building, exporter, graph
from google.protobuf.message import EncodeError

from edgetune.artifact import open_artifact
from edgetune.errors import ExportError, MissingExtra
from edgetune.runtimes import open_runtime

FILES = {
    "chat_template.jinja",
    "config.json",
    "genai_config.json",
    "generation_config.json",
    "manifest.json",
    "onnx",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture
def tuned(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True)
    return tiny.tuned(tmp_path / "base", system="Be brief")


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_the_folder(tmp_path, tuned):
    artifact = OnnxExporter().export(tuned, "int8", tmp_path / "export")
    folder = artifact.path
    assert {path.name for path in folder.iterdir()} == FILES
    assert open_artifact(folder, check_hashes=True) == artifact
    assert artifact.main_file == folder / "onnx/model_int8.onnx"
    assert read(folder, "config.json")["transformers.js_config"] == {"dtype": "int8"}
    assert read(folder, "generation_config.json")["eos_token_id"] == [259]
    genai = read(folder, "genai_config.json")["model"]
    assert genai["decoder"]["filename"] == "onnx/model_int8.onnx"
    assert genai["eos_token_id"] == [259]
    # transformers.js looks for the template here and nowhere else.
    assert "<|im_start|>" in read(folder, "tokenizer_config.json")["chat_template"]
    facts = {entry.key: entry.value for entry in onnx.load(artifact.main_file).metadata_props}
    assert facts["edgetune.system"] == "Be brief"
    assert facts["edgetune.precision"] == "int8"


def test_plan_and_export_agree(tmp_path, tuned):
    for precision in ("fp32", "fp16", "int8", "int4_rtn"):
        plan = OnnxExporter().plan(tuned, precision)
        artifact = OnnxExporter().export(tuned, precision, tmp_path / precision)
        assert plan.tensor_types == artifact.manifest.tensor_types
        assert plan.precision == artifact.manifest.precision
        assert artifact.manifest.size_bytes < plan.size_bytes < artifact.manifest.size_bytes + 3e6


def test_the_cache_says_how_wide_it_is(tmp_path, tuned):
    """transformers.js makes the first, empty cache from these shapes."""
    artifact = OnnxExporter().export(tuned, "fp32", tmp_path / "export")
    session = onnxruntime.InferenceSession(artifact.main_file)
    shapes = {value.name: value.shape for value in session.get_inputs() if "past" in value.name}
    assert shapes["past_key_values.1.value"] == ["batch_size", 2, "past_sequence_length", 16]


def test_eight_bits_share_one_table(tmp_path, tuned):
    artifact = OnnxExporter().export(tuned, "int8", tmp_path / "export")
    names = [tensor.name for tensor in onnx.load(artifact.main_file).graph.initializer]
    assert "model.embed_tokens.weight" not in names


def test_large_weights_go_into_a_file_of_their_own(tmp_path, tuned, monkeypatch):
    small = OnnxExporter().export(tuned, "fp32", tmp_path / "small")
    monkeypatch.setattr(exporter, "save", lambda model, path: graph.save(model, path, limit=1000))
    large = OnnxExporter().export(tuned, "fp32", tmp_path / "large")
    assert {path.name for path in (large.path / "onnx").iterdir()} == {"model.onnx", "model.onnx_data"}
    assert set(large.manifest.sha256) == {*small.manifest.sha256, "onnx/model.onnx_data"}
    assert read(large.path, "config.json")["transformers.js_config"]["use_external_data_format"] == {"model.onnx": 1}
    tokens = list(range(40))
    found = [open_runtime(artifact, threads=1).logits(tokens) for artifact in (small, large)]
    assert np.array_equal(*found)
    assert OnnxExporter().metadata_problems(tuned, large) == []


class Unwritable:
    """A graph as protobuf treats one of over 2 GiB: it cannot be written, and not even asked for its size."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def ByteSize(self):
        raise EncodeError("Failed to serialize proto")

    def SerializeToString(self):
        written = self._model.SerializeToString()
        if len(written) > 1000:
            raise EncodeError("Failed to serialize proto")
        return written


def test_a_graph_that_protobuf_cannot_write_whole_is_written_in_two(tmp_path):
    weights = np.arange(1000, dtype=np.float32)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([], "large", [], [], [onnx.numpy_helper.from_array(weights, "weights")])
    )
    assert graph.save(Unwritable(model), tmp_path / "model.onnx", limit=1000) == ["model.onnx", "model.onnx_data"]
    (found,) = onnx.load(tmp_path / "model.onnx").graph.initializer
    assert np.array_equal(onnx.numpy_helper.to_array(found), weights)


def test_what_lies_where_the_process_stands_is_none_of_its_business(tmp_path, monkeypatch):
    weights = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "weights")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "large", [], [], [weights]))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model.onnx_data").write_bytes(b"another model's")
    monkeypatch.chdir(tmp_path / "here")
    assert graph.save(model, tmp_path / "model.onnx", limit=1000) == ["model.onnx", "model.onnx_data"]
    assert (tmp_path / "model.onnx_data").stat().st_size == 4000
    assert (tmp_path / "here" / "model.onnx_data").read_bytes() == b"another model's"


def test_logging_is_left_alone(tmp_path, tuned, capfd):
    before = logging.getLogger().handlers[:], logging.getLogger().level
    OnnxExporter().export(tuned, "int4_rtn", tmp_path / "export")
    assert (logging.getLogger().handlers[:], logging.getLogger().level) == before
    output = capfd.readouterr()
    assert output.out == ""
    assert "quantiz" not in output.err


def test_a_builder_that_fails_leaves_nothing(tmp_path, tuned, monkeypatch):
    def fail(*_: object) -> None:
        print("Reading layer 0")
        raise KeyError("position_ids")

    monkeypatch.setattr(building, "_run", fail)
    with pytest.raises(ExportError, match=r"builder failed: KeyError: 'position_ids'") as caught:
        OnnxExporter().export(tuned, "fp32", tmp_path / "export")
    assert caught.value.problems == ("Reading layer 0",)
    assert not (tmp_path / "export").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_missing_extra_is_one_sentence(tuned, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtra, match="onnx"):
        OnnxExporter().plan(tuned, "fp32")
