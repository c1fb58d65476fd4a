"""safetensors headers read by hand, and files written tensor by tensor."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edgetune.errors import ModelError
from edgetune.models import count_parameters, tensor_shapes
from edgetune.models.weights import Pending, weight_files, write_safetensors


def test_shapes_and_types_come_from_the_header(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    found = tensor_shapes(tmp_path)
    assert (found["a"].dtype, found["a"].shape) == ("F32", (2, 3))
    assert (found["b"].dtype, found["b"].shape) == ("BF16", (5,))
    assert count_parameters(tmp_path) == 11


def test_shards_are_counted_together(tmp_path):
    save_file({"a": torch.zeros(4)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(6)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [path.name for path in weight_files(tmp_path)] == ["model-1.safetensors", "model-2.safetensors"]
    assert count_parameters(tmp_path) == 10


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a safetensors file"),
        (b"\x00" * 40, "not a safetensors file"),
        (struct.pack("<Q", 10**12) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 4) + b"nope", "its header is damaged"),
        (struct.pack("<Q", 2) + b"[]", "its header is damaged"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "its header is damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, problem):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged weights") as caught:
        tensor_shapes(tmp_path)
    assert problem in caught.value.problems[0]


def test_every_truncated_shard_is_reported_at_once(tmp_path):
    for name in ("a", "b"):
        file = tmp_path / f"{name}.safetensors"
        save_file({name: torch.zeros(100)}, file)
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError) as caught:
        tensor_shapes(tmp_path)
    assert len(caught.value.problems) == 2
    assert "truncated" in caught.value.problems[0]


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match=r"index\.json is damaged"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "torch_type"), [("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)]
)
def test_what_is_written_reads_back_rounded_as_torch_rounds(tmp_path, dtype, torch_type):
    values = np.random.default_rng(0).normal(size=(37, 5)).astype(np.float32)
    told = []
    pending = [Pending("x", dtype, (37, 5), lambda: values), Pending("y.z", "F32", (5,), lambda: values[0])]
    write_safetensors(tmp_path / "model.safetensors", pending, told.append)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert torch.equal(file.get_tensor("x"), torch.from_numpy(values).to(torch_type))
        assert torch.equal(file.get_tensor("y.z"), torch.from_numpy(values[0]))
    assert told == [tensor.nbytes for tensor in pending]
