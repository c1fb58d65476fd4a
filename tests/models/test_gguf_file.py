"""The header reader against the gguf package's, and against every way a file can be cut or bent."""

from __future__ import annotations

import random
import struct

import gguf
import numpy as np
import pytest
from tinygguf import write_tiny_gguf

from edgetune.errors import ModelError
from edgetune.models.gguf_file import read_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", system="Be brief")


def test_it_reads_what_the_gguf_package_reads(tiny):
    ours, theirs = read_gguf(tiny), gguf.GGUFReader(tiny)
    expected = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert ours.metadata == expected
    assert ours.architecture == "llama"
    for tensor in theirs.tensors:
        entry = ours.tensors[tensor.name]
        assert entry.shape == tuple(reversed(tensor.shape.tolist()))
        assert (entry.offset, entry.nbytes) == (tensor.data_offset, tensor.n_bytes)
        np.testing.assert_array_equal(ours.values(tensor.name), tensor.data)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_values_are_dequantised(tmp_path, kind):
    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    type_ = gguf.GGMLQuantizationType[kind]
    packed = gguf.quants.quantize(values, type_)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("x", packed, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_gguf(tmp_path / "x.gguf").values("x")
    assert found.shape == (4, 64)
    np.testing.assert_array_equal(found, gguf.quants.dequantize(packed, type_))


def test_a_file_cut_anywhere_is_refused_as_truncated(tiny, tmp_path):
    whole = tiny.read_bytes()
    header = min(entry.offset for entry in read_gguf(tiny).tensors.values())
    cuts = [*range(24, header, 997), header - 1, header, header + 1, len(whole) // 2, len(whole) - 1]
    for cut in cuts:
        (tmp_path / "cut.gguf").write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="is truncated") as caught:
            read_gguf(tmp_path / "cut.gguf")
        assert "again" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04" + bytes(100), b"\x80\x04K\x01." + bytes(50)])
def test_what_is_no_gguf_is_said_so(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="is not a GGUF file"):
        read_gguf(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, struct.pack("<I", 1), "GGUF version 1"),
        (4, struct.pack(">I", 3), "big-endian"),
        (8, struct.pack("<Q", 2**60), "tensors"),
        (16, struct.pack("<Q", 2**60), "keys"),
    ],
)
def test_impossible_headers_are_named(tiny, tmp_path, at, value, message):
    whole = bytearray(tiny.read_bytes())
    whole[at : at + len(value)] = value
    (tmp_path / "x.gguf").write_bytes(whole)
    with pytest.raises(ModelError, match=message):
        read_gguf(tmp_path / "x.gguf")


def test_random_damage_ends_in_a_message_never_in_a_traceback(tiny, tmp_path):
    whole, chosen = tiny.read_bytes(), random.Random(0)
    header = min(entry.offset for entry in read_gguf(tiny).tensors.values())
    refused = 0
    for _ in range(150):
        bent = bytearray(whole)
        for _ in range(3):
            bent[chosen.randrange(4, header)] = chosen.randrange(256)
        (tmp_path / "x.gguf").write_bytes(bent)
        try:
            read_gguf(tmp_path / "x.gguf")
        except ModelError:  # anything else fails the test
            refused += 1
    assert 0 < refused < 150  # some damage hits names and values, which no header can tell
