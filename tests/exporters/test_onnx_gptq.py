"""GPTQ against what it is for: less error where the inputs are, on a grid that is the runtime's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgetune_onnx import OnnxExporter, gptq
from edgetune_onnx.blocks import rounded_values
from edgetune_onnx.precision import parse_precision
from edgetune_onnx.prepared import prepare
from edgetune_onnx.products import read_products, write_products
from safetensors.numpy import load_file, save_file

from edgetune.errors import ExportError
from edgetune.exporters import Importance, used_importance
from edgetune.exporting import Wanted, find_source
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Decoding

#: More columns than are put off at once, and a last block that is not full.
ROWS, COLUMNS = 24, 300


def drawn(seed):
    """Inputs that go together, as those of a network do."""
    mixing, random = np.random.default_rng(0), np.random.default_rng(seed)
    few = random.normal(size=(4000, 12)) * np.geomspace(4, 0.5, 12)
    return few @ mixing.normal(size=(12, COLUMNS)) + 0.2 * random.normal(size=(4000, COLUMNS))


@pytest.fixture
def inputs():
    return drawn(1)


@pytest.fixture
def values():
    return np.random.default_rng(2).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def rounded(blocks, block):
    codes = blocks.codes.astype(np.float32)
    scales, zeros = (np.repeat(one, block, axis=1)[:, :COLUMNS] for one in (blocks.scales, blocks.zero_points))
    return (codes - zeros) * scales


def output_error(values, found, inputs):
    return float(np.square(inputs @ (found - values).T).mean())


@pytest.mark.parametrize("block", [16, 32, 64, 128, 256])
def test_outputs_are_nearer_than_those_of_the_nearest_values(values, inputs, block):
    nearest = rounded_values(values, parse_precision(f"int4_rtn_b{block}"), 4)
    found = rounded(gptq.quantise(values, gptq.understand(inputs.T @ inputs / len(inputs)), block), block)
    unseen = drawn(5)
    assert output_error(values, found, unseen) < 0.3 * output_error(values, nearest, unseen)
    assert np.linalg.norm(found - values) > np.linalg.norm(nearest - values), "that is what it costs"


@pytest.mark.parametrize("block", [16, 32, 256])
def test_putting_off_corrections_changes_nothing(values, inputs, block, monkeypatch):
    products = gptq.understand(inputs.T @ inputs / len(inputs))
    put_off = gptq.quantise(values, products, block)
    monkeypatch.setattr(gptq, "_BATCH", 2 * COLUMNS)
    at_once = gptq.quantise(values, products, block)
    assert (put_off.codes != at_once.codes).mean() < 0.001, "sums in another order"
    np.testing.assert_allclose(put_off.scales, at_once.scales, rtol=1e-3)


def test_where_inputs_have_nothing_in_common_it_is_rounding(values):
    found = gptq.quantise(values, gptq.understand(np.eye(COLUMNS)), 32)
    steps = np.abs(rounded(found, 32) - values) / np.repeat(found.scales, 32, axis=1)[:, :COLUMNS]
    inside = (found.codes > 0) & (found.codes < 15)
    assert steps[inside].max() < 0.5 + 1e-3


@pytest.mark.parametrize("damage", ["zero row", "unseen inputs", "no inputs", "singular"])
def test_odd_matrices_are_rounded_too(values, inputs, damage):
    products = inputs.T @ inputs / len(inputs)
    if damage == "zero row":
        values[3] = 0
    elif damage == "unseen inputs":
        products[5:9] = products[:, 5:9] = 0
    elif damage == "no inputs":
        products[:] = 0
    else:
        products[:] = 1
    found = rounded(gptq.quantise(values, gptq.understand(products), 32), 32)
    assert np.isfinite(found).all()
    assert np.abs(found - values).max() < 3
    if damage == "zero row":
        assert not found[3].any()


def test_rows_do_not_need_one_another(values, inputs):
    products = gptq.understand(inputs.T @ inputs / len(inputs))
    whole = rounded(gptq.quantise(values, products, 32), 32)
    some = rounded(gptq.quantise(values[::3], products, 32), 32)
    np.testing.assert_allclose(some, whole[::3], atol=1e-5)


def test_the_file_gives_back_what_was_collected(tmp_path):
    random = np.random.default_rng(3)
    shared, head = (one.T @ one for one in random.normal(size=(2, 30, 8)).astype(np.float32))
    products = {"a": shared, "b": shared, "lm_head": head}
    curvature = {"lm_head": 3.0, "model.embed_tokens": 0.5}
    write_products(tmp_path / "p", Importance({}, 30, ("text",), curvature, products))
    assert set(load_file(tmp_path / "p")) == {"a.products", "lm_head.products"}
    found = read_products(tmp_path / "p")
    np.testing.assert_allclose(found.of(found.source("b.weight")), shared / 30, rtol=1e-6)
    table = found.of_table()
    assert table.diagonal().mean() == pytest.approx(3.5)
    np.testing.assert_allclose(
        table - table.diagonal() * np.eye(8),
        (head - head.diagonal() * np.eye(8)) * 3 / head.diagonal().mean(),
        rtol=1e-5,
    )
    found.require_fit({"a.weight": (5, 8), "lm_head.weight": (9, 8)})
    for wrong in ({"a.weight": (5, 9)}, {"c.weight": (5, 8)}):
        with pytest.raises(ExportError, match="is of another model"):
            found.require_fit(wrong)


def test_what_is_no_number_is_refused(tmp_path):
    write_products(tmp_path / "p", Importance({}, 1, (), {}, {"a": np.full((4, 4), np.nan, np.float32)}))
    with pytest.raises(ExportError, match="no number"):
        read_products(tmp_path / "p").of("a")


@pytest.mark.parametrize("damage", ["missing", "text", "another safetensors", "cut", "part"])
def test_other_files_are_refused(tmp_path, damage):
    path = tmp_path / "p"
    write_products(path, Importance({}, 1, (), {}, {"a": np.eye(4, dtype=np.float32)}))
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("no such thing")
    elif damage == "another safetensors":
        save_file({"a.products": np.ones(10, np.float32)}, path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        save_file({"a.products": np.ones(9, np.float32)}, path, {"sources": '{"a": "a"}', "curvature": "{}"})
    with pytest.raises(ExportError, match="no such imatrix" if damage == "missing" else "does not hold the products"):
        read_products(path)


def test_who_needs_what():
    assert used_importance("onnx", ("int8", "int4")) is None
    assert used_importance("onnx", ("int8", "int4_gptq_b64")) == "products"
    assert used_importance("onnx", ("fp16_ort", "int8_static")) is None
    assert used_importance("gguf", ("q8_0", "mixed-92mb")) == "curvature"


def test_without_a_run_it_is_refused_with_a_way_out(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True)
    with pytest.raises(ExportError, match="nothing was collected"):
        OnnxExporter().export(tiny.tuned(tmp_path / "base"), "int4_gptq_b16", tmp_path / "out")
    with pytest.raises(ExportError, match="nothing but a run") as caught:
        find_source(str(tmp_path / "base")).parts(Wanted("onnx", ("int8", "int4_gptq_b16")))
    assert "int8" in caught.value.hint


def test_a_tied_table_is_rounded_for_both_uses_and_read_back(tmp_path, tiny):
    """A model whose width is not a whole number of blocks: the last of each row is filled up."""
    tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True, hidden_size=64, intermediate_size=112)
    tuned = tiny.tuned(tmp_path / "base")
    weights = prepare(tuned, "fp32").weights.tensors
    random = np.random.default_rng(4)
    widths = {name.removesuffix(".weight"): info.shape[1] for name, info in weights.items() if "proj" in name}
    widths["lm_head"] = 64
    drawn = {name: random.normal(size=(200, width)).astype(np.float32) for name, width in widths.items()}
    products = {name: one.T @ one for name, one in drawn.items()}
    curvature = {"lm_head": 2.0, "model.embed_tokens": 1.0}
    write_products(tmp_path / "p", Importance({}, 200, (), curvature, products))
    artifact = OnnxExporter().export(replace(tuned, importance=tmp_path / "p"), "int4_gptq_b32", tmp_path / "out")
    pairs = list(OnnxExporter().tensor_pairs(tuned, artifact, merged_state(tuned)))
    assert any(pair.name == "model.embed_tokens.weight" and pair.compensated for pair in pairs)
    for pair in pairs:
        assert pair.problem is None, pair.problem
        found, expected = pair.stored(), pair.trained().tuned
        assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected), pair.name
    runtime = open_runtime(artifact)
    assert runtime.generate([[5, 6, 7]], Decoding(max_new_tokens=4))[0].tokens
    runtime.close()


def merged_state(tuned):
    weights = prepare(tuned, "fp32").weights
    return {name: torch.from_numpy(weights.read(name)) for name in weights.tensors}


def test_bases_that_adapters_share_are_rounded_for_none(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True)
    with pytest.raises(ExportError, match="none of theirs"):
        OnnxExporter().plan_base(tiny.tuned(tmp_path / "base"), "int4_gptq_b16")
