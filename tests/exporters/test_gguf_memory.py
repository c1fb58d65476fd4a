"""Memory: an export holds about one tensor, never the model. Measured on the process itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

#: Runs alone so that nothing else moves the peak. Writing 5 to clear_refs resets it (proc(5)).
MEASURE = """
import json, sys
from pathlib import Path
from edgetune.exporters import TunedModel
from edgetune_gguf import GgufExporter

def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) * 1024

base, small, out = map(Path, sys.argv[1:4])
def model(folder):
    return TunedModel("m", folder, folder / "adapter" if (folder / "adapter").is_dir() else None,
        "base" if (folder / "adapter").is_dir() else None, (), folder, "x", "0" * 64)
GgufExporter().export(model(small), sys.argv[4], out / "warm")
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
plan = GgufExporter().plan(model(base), sys.argv[4])
GgufExporter().export(model(base), sys.argv[4], out / "big")
print(json.dumps({"peak": status("VmHWM") - before, "planned": plan.peak_memory_bytes}))
"""


def test_the_peak_is_near_the_largest_tensor(tmp_path, tiny):
    sizes = {"hidden_size": 256, "intermediate_size": 4096, "num_hidden_layers": 10}  # 30 tensors of 4 MB
    tiny.save_model(tmp_path / "base", "Llama", **sizes)
    tiny.save_model(tmp_path / "small", "Llama", hidden_size=256)
    weights = load_file(tmp_path / "base/model.safetensors")
    total = sum(tensor.numel() * 4 for tensor in weights.values())
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(half, tmp_path / "base/model.safetensors", metadata={"format": "pt"})
    largest = max(tensor.numel() * 4 for tensor in weights.values())
    assert total > 30 * largest
    command = [sys.executable, "-c", MEASURE, tmp_path / "base", tmp_path / "small", tmp_path, "q8_0"]
    # Freed memory goes back at once, so that what is held is measured and not what the allocator of each thread keeps.
    held = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "500000"}
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, env=held).stdout)
    assert largest < found["planned"] < 3 * largest
    assert found["peak"] < found["planned"] + 8e6  # the vocabulary's check comes on top of the tensor
    assert found["peak"] < total / 3
