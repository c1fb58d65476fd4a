"""A GGUF as base: dequantised once, cached whole or not at all, safe with several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinygguf import write_tiny_gguf

from edgetune import files
from edgetune.errors import ModelError, ResourceError
from edgetune.models import gguf_base, load_model, load_tokenizer
from edgetune.models.gguf_base import dequantised
from edgetune.models.gguf_file import read_gguf
from edgetune.models.sealed import is_whole


@pytest.fixture
def gguf_file(tmp_path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def test_it_becomes_a_folder_that_loads(gguf_file, cache):
    made = dequantised(gguf_file, cache)
    model = load_model(made.folder, dtype="float32")
    assert model.config.model_type == "llama"
    assert model.config.max_position_embeddings == 512
    assert load_tokenizer(made.folder).decode([261 - 2]) == "he"
    assert made.sha256 == files.sha256_file(gguf_file)
    assert made.origin == "F32 GGUF (tiny.gguf)"


def test_settings_that_transformers_refuses_are_one_message(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("tinygguf.HEADS", 3)
    monkeypatch.setattr("tinygguf.KV_HEADS", 3)
    with pytest.raises(ModelError, match=r"cannot read the model configuration in .*odd\.gguf: .*attention heads"):
        dequantised(write_tiny_gguf(tmp_path / "odd.gguf"), cache)


def test_the_second_call_converts_nothing(gguf_file, cache, monkeypatch):
    first = dequantised(gguf_file, cache)
    monkeypatch.setattr(gguf_base, "_convert", lambda *_: pytest.fail("converted again"))
    assert dequantised(gguf_file, cache) == first


def test_the_same_content_under_another_name_shares_the_cache(gguf_file, cache, tmp_path):
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(gguf_file.read_bytes())
    assert dequantised(gguf_file, cache).folder == dequantised(copy, cache).folder


@pytest.mark.parametrize("damage", ["truncate", "remove", "seal"])
def test_a_damaged_cache_entry_is_made_again(gguf_file, cache, damage):
    folder = dequantised(gguf_file, cache).folder
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if damage == "truncate":
        weights.write_bytes(whole[:100])
    elif damage == "remove":
        weights.unlink()
    else:
        (folder / "edgetune.json").write_text("{")
    assert dequantised(gguf_file, cache).folder == folder
    assert weights.read_bytes() == whole


def test_a_failure_half_way_leaves_nothing_behind(gguf_file, cache, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_base, "write_safetensors", full)
    with pytest.raises(ResourceError, match="disk full"):
        dequantised(gguf_file, cache)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    monkeypatch.undo()
    assert (dequantised(gguf_file, cache).folder / "config.json").is_file()


def test_what_a_killed_process_left_is_cleared_away(gguf_file, cache):
    target = dequantised(gguf_file, cache).folder
    left = cache / f".{target.name}.edgetune-abcdefgh"
    left.mkdir()
    (left / "model.safetensors").write_bytes(bytes(10))
    (target / "edgetune.json").unlink()
    dequantised(gguf_file, cache)
    assert not left.exists()


def test_too_little_disk_is_noticed_before_anything_is_written(gguf_file, cache, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: _Usage)
    with pytest.raises(ResourceError, match="the dequantised base model needs"):
        dequantised(gguf_file, cache)


class _Usage:
    free = 1000


def test_processes_that_start_together_agree(gguf_file, cache):
    code = (
        "import sys; from pathlib import Path; from edgetune.models.gguf_base import dequantised;"
        "print(dequantised(Path(sys.argv[1]), Path(sys.argv[2])).folder)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(gguf_file), str(cache)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert is_whole(Path(answers[0][0].strip()))


def test_an_unknown_architecture_is_refused_by_name(tmp_path, cache):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="architecture 'mamba'") as caught:
        dequantised(tmp_path / "odd.gguf", cache)
    assert "qwen2" in caught.value.hint


def test_a_file_with_a_vocabulary_only_is_no_base(tmp_path, cache):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "vocabulary.gguf", "llama")
    writer.add_block_count(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="lacks settings") as caught:
        dequantised(tmp_path / "vocabulary.gguf", cache)
    assert "llama.embedding_length" in caught.value.problems


def test_tensors_that_no_parameter_takes_are_refused(gguf_file, cache, monkeypatch):
    def with_spare(path):
        file = read_gguf(path)
        spare = file.tensors["output_norm.weight"]
        return type(file)(file.path, file.metadata, {**file.tensors, "blk.0.mystery.weight": spare})

    monkeypatch.setattr(gguf_base, "read_gguf", with_spare)
    with pytest.raises(ModelError, match="do not make a llama model") as caught:
        dequantised(gguf_file, cache)
    assert caught.value.problems == ("blk.0.mystery.weight: in the file, but not in a llama model",)
    assert not list(cache.glob("*-v*/"))


def test_a_missing_and_a_misshapen_tensor_are_both_named(gguf_file, cache, monkeypatch):
    def altered(path):
        file = read_gguf(path)
        tensors = dict(file.tensors)
        del tensors["blk.1.ffn_up.weight"]
        tensors["output_norm.weight"] = tensors["token_embd.weight"]
        return type(file)(file.path, file.metadata, tensors)

    monkeypatch.setattr(gguf_base, "read_gguf", altered)
    with pytest.raises(ModelError) as caught:
        dequantised(gguf_file, cache)
    assert "model.layers.1.mlp.up_proj.weight: not in the file" in caught.value.problems
    assert "output_norm.weight: (261, 64) in the file, (64,) in the model" in caught.value.problems


def test_the_seal_says_where_the_entry_comes_from(gguf_file, cache):
    made = dequantised(gguf_file, cache)
    seal = json.loads((made.folder / "edgetune.json").read_text())
    assert seal["sha256"] == made.sha256
    assert seal["source"] == str(gguf_file)


def test_large_quantised_models_are_stored_smaller_and_say_so(gguf_file, monkeypatch):
    file = read_gguf(gguf_file)
    assert gguf_base._stored_type(file, "Q4_1") == "F32"
    monkeypatch.setattr(gguf_base, "FLOAT32_LIMIT", 1000)
    assert gguf_base._stored_type(file, "Q4_1") == "BF16"
    assert gguf_base._stored_type(file, "F32") == "F32"
    assert gguf_base._stored_type(file, "F16") == "F16"
