"""Bytes a token and memory, read from real tensors."""

from __future__ import annotations

from dataclasses import replace

import gguf
import numpy as np
import pytest
from tinygguf import HEADS, KV_HEADS, LAYERS, WIDTH

from edgetune.artifact import Artifact
from edgetune.devices.device import find_device
from edgetune.devices.footprint import CACHE_TYPES, Footprint, read_footprint
from edgetune.devices.gguf_footprint import read_gguf
from edgetune.devices.memory_fit import CELLS, Budget, fit, fit_within, longest, need
from edgetune.devices.onnx_footprint import _looked_up, _weights
from edgetune.devices.protobuf import read_graph
from edgetune.devices.rearranging import AVX512
from edgetune.errors import ArtifactError

MODEL = Footprint("m", "llama.cpp", 10**8, 10**8, 10**8, 10_000, "f16", 8192, 50_000, 576, 1536)


def test_a_tied_embedding_counts_once(tiny):
    found = read_footprint(tiny)
    with tiny.path.open("rb") as handle:
        tensors = gguf.GGUFReader(handle.name).tensors
    assert found.read_bytes == found.weights_bytes == sum(int(one.n_bytes) for one in tensors)
    assert found.read_weights == sum(int(one.n_elements) for one in tensors)
    assert found.cache_values == 2 * LAYERS * KV_HEADS * (WIDTH // HEADS)
    assert (found.trained_context, found.width, found.vocabulary) == (512, WIDTH, 261)


@pytest.fixture
def written(tmp_path):
    """Write a model of given tensors, float32 unless another type is given, and look at it."""

    def write(tensors, kinds=None, **keys):
        path = tmp_path / "own.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        shapes = {"block_count": 2, "context_length": 64, "embedding_length": 32, "feed_forward_length": 64}
        for name, value in (shapes | {"attention.head_count": 4} | keys).items():
            (writer.add_array if isinstance(value, list) else writer.add_uint32)(f"llama.{name}", value)
        for name, shape in tensors.items():
            kind = (kinds or {}).get(name, gguf.GGMLQuantizationType.F32)
            writer.add_tensor(name, gguf.quants.quantize(np.zeros(shape, np.float32), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return read_gguf(Artifact(path, None))

    return write


def test_an_untied_embedding_counts_one_row(written):
    found = written({"token_embd.weight": (100, 32), "output.weight": (100, 32), "blk.0.x.weight": (32, 32)})
    assert found.weights_bytes == 4 * (2 * 100 * 32 + 32 * 32)
    assert found.read_bytes == 4 * (32 + 100 * 32 + 32 * 32)


def test_the_cache_follows_the_heads_of_each_layer(written):
    embedding = {"token_embd.weight": (100, 32)}
    assert written(embedding).cache_values == 2 * 2 * 4 * 8
    assert written(embedding, **{"attention.head_count_kv": [4, 1]}).cache_values == 2 * (4 + 1) * 8
    lengths = {"attention.head_count_kv": 2, "attention.key_length": 16, "attention.value_length": 8}
    assert written(embedding, **lengths).cache_values == 2 * 2 * (16 + 8)


def test_a_mixture_of_experts_is_told(written):
    found = written({"token_embd.weight": (100, 32), "blk.0.ffn_up_exps.weight": (4, 64, 32)})
    assert found.mixture
    assert "mixture of experts" in found.notes[0]


def test_what_is_no_model_is_refused(written):
    with pytest.raises(ArtifactError, match="no embedding"):
        written({"blk.0.x.weight": (32, 32)})


def test_the_cache_by_type():
    assert MODEL.cache_bytes(100) == 2_000_000
    assert MODEL.cache_bytes(100, "q8_0") == 1_062_500
    assert MODEL.token_bytes(100) == 102_000_000
    assert all(4 >= CACHE_TYPES[name] > 0.5 for name in CACHE_TYPES)


def test_more_context_needs_more_by_whole_cells():
    assert need(MODEL, 1).total == need(MODEL, CELLS).total
    more = need(MODEL, CELLS + 1).total - need(MODEL, CELLS).total
    assert more == CELLS * (20_000 + 512 * 2)


def test_the_longest_context_fits_and_the_next_does_not():
    budget = need(MODEL, 2048).total
    assert longest(MODEL, budget) == 2048
    assert longest(MODEL, budget - 1) == 2048 - CELLS
    assert longest(MODEL, 10**12) == 8192
    assert longest(MODEL, 10**6) == 0


def test_a_fit_says_where_its_budget_is_from():
    found = fit(MODEL, find_device("galaxy-s24"), 4096)
    assert found.fits
    assert found.budget == 4 * 2**30
    assert "50%" in found.reason
    assert "assumption" in found.reason
    assert not fit_within(MODEL, Budget("given", 10**8, "given"), 4096).fits
    beyond = fit(MODEL, find_device("galaxy-s24"), 9000)
    assert any("built for 8192 tokens" in note for note in beyond.notes)
    assert beyond.need.total < beyond.budget
    assert not beyond.fits, "the model does not hold so many"


def test_a_rearranged_copy_counts_where_the_processor_has_one():
    model = replace(MODEL, matrices={"q4_0": 60_000_000, "q8_0": 5_000_000, "q2_k": 1_000_000})
    sizes = {
        name: fit(model, find_device(name), 4096).need for name in ("n150-mini-pc", "raspberry-pi-4", "galaxy-s24")
    }
    assert {name: one.rearranged for name, one in sizes.items()} == {
        "n150-mini-pc": 60_000_000,
        "raspberry-pi-4": 0,
        "galaxy-s24": 65_000_000,
    }
    assert sizes["galaxy-s24"].total - sizes["raspberry-pi-4"].total == 65_000_000
    enough = need(model, 4096).total
    assert fit_within(model, Budget("given", enough, "given"), 4096).fits
    tight = fit_within(model, Budget("given", enough, "given", AVX512), 4096)
    assert not tight.fits
    assert tight.longest < 4096
    assert any("61 MB of the file's pages" in note for note in tight.notes)


def test_only_matrices_that_are_multiplied_by_whole_groups_of_rows_are_rearranged(written):
    zeros = {"blk.0.a.weight": (16, 32), "blk.0.b.weight": (12, 32), "token_embd.weight": (96, 32)}
    kinds = dict.fromkeys(zeros, gguf.GGMLQuantizationType.Q4_0) | {"blk.0.c.weight": gguf.GGMLQuantizationType.Q5_0}
    tied = written(zeros | {"blk.0.c.weight": (16, 32), "blk.0.norm.weight": (32,)}, kinds)
    assert tied.matrices == {"q4_0": 16 * 18 + 96 * 18}, "12 rows are no whole groups"
    untied = written(zeros | {"output.weight": (96, 32)}, kinds)
    assert untied.matrices == {"q4_0": 16 * 18}, "of the embedding single rows are read"


def test_an_onnx_graph_without_the_onnx_package(tmp_path):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    tensors = [
        onnx.numpy_helper.from_array(np.zeros((50, 8), np.float32), "table"),
        onnx.numpy_helper.from_array(np.zeros((8, 1, 4), np.uint8), "codes"),
        onnx.numpy_helper.from_array(np.zeros((50, 8), np.float16), "shared"),
    ]
    nodes = [
        make.make_node("Gather", ["table", "ids"], ["a"]),
        make.make_node("MatMulNBits", ["a", "codes"], ["b"], bits=4, K=8, N=8, block_size=8, domain="com.microsoft"),
        make.make_node("Reshape", ["shared", "shape"], ["rows"]),
        make.make_node("Gather", ["rows", "ids"], ["c"]),
        make.make_node("MatMul", ["b", "shared"], ["d"]),
    ]
    inputs = [make.make_tensor_value_info("past_key_values.0.key", onnx.TensorProto.FLOAT16, [1])]
    graph = make.make_graph(nodes, "g", inputs, [], tensors)
    onnx.save(make.make_model(graph), tmp_path / "m.onnx")
    found = read_graph(tmp_path / "m.onnx")
    assert {name: (one.shape, one.bits) for name, one in found.initializers.items()} == {
        "table": ((50, 8), 32),
        "codes": ((8, 1, 4), 8),
        "shared": ((50, 8), 16),
    }
    assert found.input_bits == {"past_key_values.0.key": 16}
    assert _looked_up(found) == {"table"}, "the shared table is read whole by the head"
    assert _weights(found, {"table"}) == 8 * 4 * 2 + 50 * 8


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 50])
def test_a_damaged_onnx_file(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ArtifactError):
        read_graph(tmp_path / "m.onnx")
