"""The importance matrix: llama.cpp's format, llama.cpp's bytes, and every way it can be of something else."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import gguf
import numpy as np
import pytest
from edgetune_gguf import GgufExporter
from edgetune_gguf.imatrix import read_imatrix, write_imatrix
from edgetune_gguf.metadata import file_type
from edgetune_gguf.mixture import PRECISIONS, UNWEIGHTED
from edgetune_gguf.preparing import understand
from edgetune_gguf.tensors import file_names

from edgetune.errors import ExportError
from edgetune.exporters import Importance

WIDE = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 16, "num_hidden_layers": 16}
MODELS = {
    "wide": ("Llama", {**WIDE, "num_key_value_heads": 4}),
    "narrow": ("Llama", {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2}),
    "fused": ("Phi3", {**WIDE, "num_hidden_layers": 2, "num_key_value_heads": 16}),
}
SEARCHED = [name for name, kind in PRECISIONS.items() if kind not in UNWEIGHTED]


def importance(model, folder):
    """Random squares of every linear layer."""
    import torch

    random = np.random.default_rng(3)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}
    squares = {n: (100 * random.random(m.in_features) ** 4).astype(np.float32) for n, m in layers.items()}
    return Importance(squares, 1234, ("rows", "a book"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny):
    """Model name → the tuned model with its imatrix, and its F32 file; made when first asked for."""
    tiny.silence()
    known = {}

    def get(name):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            family, settings = MODELS[name]
            found = importance(tiny.save_model(folder / "base", family, **settings), folder)
            model = tiny.tuned(folder / "base")
            plain = GgufExporter().export(model, "f32", folder / "f32")
            GgufExporter().write_importance(model, found, folder / "imatrix.gguf")
            known[name] = replace(model, importance=folder / "imatrix.gguf"), plain.main_file, found
        return known[name]

    return get


def llama_quantise(source, target, precision, imatrix):
    import llama_cpp

    names = [name.encode() for name in imatrix.means]
    kind = llama_cpp.llama_model_imatrix_data
    entries = (kind * (len(names) + 1))()
    for entry, name, values in zip(entries, names, imatrix.means.values(), strict=False):
        entry.name, entry.size = name, len(values)
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = file_type(precision), 2
    settings.imatrix = entries
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), settings) == 0


@pytest.mark.parametrize("precision", SEARCHED)
@pytest.mark.parametrize("name", MODELS)
def test_the_file_equals_the_one_llama_cpp_quantises(made, tiny, tmp_path, name, precision):
    model, file, _ = made(name)
    artifact = GgufExporter().export(model, precision, tmp_path / "ours")
    llama_quantise(file, tmp_path / "theirs.gguf", precision, read_imatrix(model.importance))
    ours, theirs = tiny.contents(artifact.main_file)[0], tiny.contents(tmp_path / "theirs.gguf")[0]
    assert {name: kind for name, (kind, _) in ours.items()} == {name: kind for name, (kind, _) in theirs.items()}
    assert [name for name in ours if ours[name][1] != theirs[name][1]] == []


def test_the_matrix_changes_the_weights(made, tiny, tmp_path):
    model, _, _ = made("wide")
    minding = GgufExporter().export(model, "q4_k_m", tmp_path / "minding")
    plain = GgufExporter().export(replace(model, importance=None), "q4_k_m", tmp_path / "plain")
    assert tiny.contents(minding.main_file)[0] != tiny.contents(plain.main_file)[0]
    assert (minding.name, plain.name) == ("tiny-q4_k_m-imatrix", "tiny-q4_k_m")
    assert minding.manifest.importance_sha256 == read_imatrix(model.importance).sha256
    keys = {name: field.contents() for name, field in gguf.GGUFReader(minding.main_file).fields.items()}
    assert keys["quantize.imatrix.file"] == "imatrix.gguf"
    assert keys["quantize.imatrix.dataset"] == "rows, a book"
    assert keys["quantize.imatrix.entries_count"] == 16 * 7
    assert keys["quantize.imatrix.chunks_count"] == 2
    assert GgufExporter().metadata_problems(model, minding) == []
    assert GgufExporter().forgotten(model, minding) is None


@pytest.mark.parametrize("precision", ["q4_k_m", "q4_0"])
@pytest.mark.parametrize("name", MODELS)
def test_without_the_matrix_the_rest_is_judged(made, tmp_path, name, precision):
    model, _, _ = made(name)
    artifact = GgufExporter().export(model, precision, tmp_path / "out")
    forgetful = replace(model, importance=None)
    assert GgufExporter().metadata_problems(forgetful, artifact) == []
    assert "types cannot be told" in GgufExporter().forgotten(forgetful, artifact)
    other = replace(forgetful, system="Be rude")
    assert any("edgetune.system" in problem for problem in GgufExporter().metadata_problems(other, artifact))


def test_what_the_matrix_is_called_is_no_fault_of_the_file(made, tmp_path):
    model, _, _ = made("narrow")
    artifact = GgufExporter().export(model, "q4_0", tmp_path / "out")
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(model.importance.read_bytes())
    assert GgufExporter().metadata_problems(replace(model, importance=renamed), artifact) == []


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16", "q8_0"])
def test_types_that_look_at_nothing_else_are_written_as_without(made, tmp_path, precision):
    model, _, _ = made("narrow")
    plan = GgufExporter().plan(model, precision)
    assert (plan.weighted, plan.folder) == (False, precision)
    artifact = GgufExporter().export(model, precision, tmp_path / "out")
    assert artifact.manifest.importance_sha256 is None


def test_the_file_has_the_format_of_llama_imatrix(made):
    model, _, found = made("narrow")
    reader = gguf.GGUFReader(model.importance)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    assert keys["general.type"] == "imatrix"
    assert keys["imatrix.datasets"] == ["rows", "a book"]
    assert (keys["imatrix.chunk_count"], keys["imatrix.chunk_size"]) == (2, 512)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    sums, counts = tensors["blk.0.ffn_down.weight.in_sum2"], tensors["blk.0.ffn_down.weight.counts"]
    np.testing.assert_array_equal(sums, found.squares["model.layers.0.mlp.down_proj"][None])
    assert counts.tolist() == [[1234.0]]
    mean = read_imatrix(model.importance).means["blk.0.ffn_down.weight"]
    np.testing.assert_allclose(mean, sums[0] / 1234)


def rewritten(path, change):
    """An imatrix with one tensor, after ``change`` of its keys and tensors."""
    keys, tensors = {"general.type": "imatrix"}, {"blk.0.attn_q.weight.in_sum2": np.ones((1, 96), np.float32)}
    tensors["blk.0.attn_q.weight.counts"] = np.ones((1, 1), np.float32)
    change(keys, tensors)
    writer = gguf.GGUFWriter(path, "imatrix")
    for name, value in keys.items():
        writer.add_string(name, value)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SUMS = "blk.0.attn_q.weight.in_sum2"
CHANGES = {
    "is no imatrix": lambda keys, _: keys.update({"general.type": "model"}),
    "negative or not finite": lambda _, tensors: tensors.update({SUMS: np.full((1, 96), np.nan, np.float32)}),
    "squares is negative": lambda _, tensors: tensors.update({SUMS: np.full((1, 96), -1, np.float32)}),
    "mixtures of experts": lambda _, tensors: tensors.update({SUMS: np.ones((4, 96), np.float32)}),
    "damaged imatrix": lambda _, tensors: tensors.pop("blk.0.attn_q.weight.counts"),
    "has 64 inputs, in the model 96": lambda _, tensors: tensors.update({SUMS: np.ones((1, 64), np.float32)}),
    "is not in the model": lambda _, tensors: tensors.update({"blk.99.attn_q.weight.in_sum2": tensors[SUMS],
                                                              "blk.99.attn_q.weight.counts": np.ones((1, 1), "f4")}),
    "it holds nothing": lambda _, tensors: (tensors.clear(), tensors.update({"other": np.ones(1, np.float32)})),
}  # fmt: skip


@pytest.mark.parametrize("message", CHANGES)
def test_what_is_of_something_else_is_refused(made, tmp_path, message):
    model, _, _ = made("narrow")
    file = rewritten(tmp_path / "other.gguf", CHANGES[message])
    with pytest.raises(ExportError, match=message) as caught:
        GgufExporter().plan(replace(model, importance=file), "q4_k_m")
    assert "--imatrix auto" in caught.value.hint


def test_a_missing_or_cut_file_is_refused(made, tmp_path):
    model, _, _ = made("narrow")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.importance.read_bytes()[:1000])
    for file, message in ((tmp_path / "none.gguf", "no such imatrix"), (cut, "not an imatrix in GGUF")):
        with pytest.raises(ExportError, match=message):
            GgufExporter().plan(replace(model, importance=file), "q4_k_m")


def test_an_input_that_was_never_seen_counts_one(made, tmp_path, tiny):
    model, _, found = made("narrow")
    architecture, config = understand(model)
    write_imatrix(tmp_path / "none.gguf", replace(found, tokens=0), file_names(architecture, config))
    means = read_imatrix(tmp_path / "none.gguf").means
    assert means
    assert all((values == 1).all() for values in means.values())
