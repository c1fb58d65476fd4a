import struct

import gguf
import pytest

from edgetune.errors import ArtifactError
from edgetune.runtimes import open_runtime
from edgetune.runtimes.gguf_header import check_file, read_header


def test_header_agrees_with_the_gguf_package(tiny_gguf):
    header = check_file(tiny_gguf)
    reader = gguf.GGUFReader(tiny_gguf)
    assert header.data_start == reader.data_offset
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.context_length"] == 512
    assert header.metadata["tokenizer.ggml.merges"] == ["h e", "l l"]
    assert "tokenizer.ggml.tokens" not in header.metadata  # long arrays are skipped
    expected = [(t.name, tuple(t.shape.tolist()), t.data_offset - reader.data_offset) for t in reader.tensors]
    assert [(t.name, t.shape, t.offset) for t in header.tensors] == expected


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused_wherever_it_ends(tiny_gguf, tmp_path, share):
    whole = tiny_gguf.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError) as caught:
        open_runtime(cut)
    assert str(cut) in caught.value.message
    assert any(word in caught.value.message for word in ("truncated", "not a GGUF file"))


def test_one_missing_byte_is_found(tiny_gguf, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"is truncated: \d+ bytes, but its tensors need \d+"):
        check_file(cut)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a zip file", "begins with b'PK"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 40), "a name of 1099511627776 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 99), "value type 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<I", 77), "77 dimensions"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "truncated"),
    ],
)
def test_foreign_and_damaged_headers(tmp_path, content, message):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_header(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ArtifactError, match="cannot read"):
        read_header(tmp_path)
