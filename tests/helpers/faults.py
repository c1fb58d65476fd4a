"""Faults that exporters are known for, planted in a good artifact: each file is whole, loads and answers.

Every fault but the flipped byte gets a manifest that fits it, as an exporter with that bug would have written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.torch
import torch

from edgetune import files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import Artifact, write_manifest
from edgetune.exporters import TunedModel
from edgetune.exporting import export_model
from edgetune.run import Run

#: Tensor name, values (float32, rows first) and type → what to write in their place; None leaves the tensor out.
Edit = Callable[[str, np.ndarray, str], tuple[np.ndarray, str] | None]


def rewrite(
    artifact: Artifact, keys: dict[str, Any] | None = None, edit: Edit | None = None, drop: Sequence[str] = ()
) -> Artifact:
    """Write an artifact's file anew with other metadata or tensors, and a manifest that fits it."""
    file = artifact.main_file
    reader = gguf.GGUFReader(file)
    other = file.with_suffix(".new")
    writer = gguf.GGUFWriter(other, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or name in drop:
            continue
        kind, inner = field.types[0], field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        value = (keys or {}).get(name, field.contents())
        writer.add_key_value(name, value, kind, sub_type=inner)
    for tensor in reader.tensors:
        name, kind = str(tensor.name), tensor.tensor_type
        values, written = np.asarray(tensor.data), kind.name
        if edit is not None:
            plain = gguf.quants.dequantize(values, kind).reshape([int(n) for n in reversed(tensor.shape)])
            edited = edit(name, plain, kind.name)
            if edited is None:
                continue
            if edited[0] is not plain:
                plain, written = edited
                kind = gguf.GGMLQuantizationType[written]
                values = gguf.quants.quantize(np.ascontiguousarray(plain, dtype=np.float32), kind)
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    other.replace(file)
    return fit_manifest(artifact)


def fit_manifest(artifact: Artifact) -> Artifact:
    """The manifest of what the folder holds now."""
    assert artifact.manifest is not None
    hashes = {name: files.sha256_file(artifact.path / name) for name in artifact.manifest.sha256}
    changes = {"sha256": hashes, "size_bytes": sum((artifact.path / name).stat().st_size for name in hashes)}
    return write_manifest(artifact.path, artifact.manifest.model_copy(update=changes))


def export_with(model: TunedModel, precision: str, artifact: Artifact, **changes: Any) -> Artifact:
    """Export another model in the place of an artifact, as if it were the right one."""
    shutil.rmtree(artifact.path)
    assert artifact.manifest is not None
    return export_model(replace(model, **changes), artifact.manifest.format, precision, artifact.path.parent)


def other_adapter(
    model: TunedModel, folder: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]
) -> Path:
    """A copy of a model's adapter with other settings or tensors."""
    assert model.adapter_folder is not None
    shutil.copytree(model.adapter_folder, folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    change(settings, tensors)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def silence_layer(settings, tensors):
    for name in tensors:
        if ".layers.1." in name and "lora_B" in name:
            tensors[name] = torch.zeros_like(tensors[name])


def forget_rslora(settings, tensors):
    settings["use_rslora"] = False


def drop_magnitudes(settings, tensors):
    settings["use_dora"] = False
    for name in [name for name in tensors if "magnitude" in name]:
        del tensors[name]


def older(settings, tensors):
    for name in tensors:
        if "lora_B" in name:
            tensors[name] = 0.9 * tensors[name] + 0.004 * torch.randn(tensors[name].shape)


def flip_a_byte(artifact: Artifact) -> Artifact:
    """One bit of the tensor data, and a manifest that does not know."""
    data = bytearray(artifact.main_file.read_bytes())
    data[-100] ^= 0x40
    artifact.main_file.write_bytes(data)
    return artifact


def tame_magnitudes(run: Run) -> None:
    """Magnitudes near those of the base, as training leaves them; random ones have no low rank."""
    base = safetensors.torch.load_file(tuned_model(run).base_folder / "model.safetensors")

    def change(settings, tensors):
        for name in tensors:
            if "magnitude" in name:
                module = name.removeprefix("base_model.model.").split(".lora_magnitude_vector")[0]
                norm = base[f"{module}.weight"].norm(dim=1)
                tensors[name] = norm * (1 + 0.01 * torch.randn(norm.shape))

    folder = other_adapter(tuned_model(run), run.folder / "tame", change)
    shutil.rmtree(run.adapter_folder)
    folder.rename(run.adapter_folder)


def swap_rows(name, values, kind):
    """Of q in the order that llama.cpp does not want; an :data:`Edit`."""
    if name != "blk.0.attn_q.weight":
        return values, kind
    halves = values.reshape(4, 8, 2, 64)  # back to the order of transformers, which llama.cpp does not use
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape), kind
