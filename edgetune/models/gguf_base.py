"""A GGUF file as base model: dequantised once, tensor by tensor, and cached by the file's hash.

Stored type: what a file holds as F16 or BF16 stays so, being exact. Everything quantised becomes
float32: a Q4_1 value is *scale · code + minimum* with float16 parts, up to 15 significant bits where
bfloat16 has 8, so only float32 keeps the model that the file really is. Above
:data:`FLOAT32_LIMIT` values bfloat16 is used to save disk, and the origin says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune import console, extras, files
from edgetune.errors import ModelError
from edgetune.models.gguf_config import ROPE_TENSORS, Architecture, architecture_of, config_from_gguf
from edgetune.models.gguf_file import GgufFile, GgufTensor, read_gguf
from edgetune.models.gguf_tokenizer import write_tokenizer
from edgetune.models.loading import usable_settings
from edgetune.models.sealed import is_whole, read_seal, say_waiting, write_json, write_seal
from edgetune.models.weights import Pending, write_safetensors

#: Changes when the conversion does, so that older cache entries are made again.
VERSION = 1
#: Most values that are stored as float32: 2e9, which is 8 GB.
FLOAT32_LIMIT = 2_000_000_000


@dataclass(frozen=True)
class Dequantised:
    """A GGUF base in the cache.

    Attributes:
        folder: config.json, model.safetensors, tokenizer files.
        sha256: of the GGUF file.
        origin: in words: which quantisation it is a reconstruction of.
        licence: as the GGUF states it.
    """

    folder: Path
    sha256: str
    origin: str
    licence: str | None


def dequantised(path: Path, cache: Path) -> Dequantised:
    """The cache folder of a GGUF file's model, made on the first call.

    Several processes may call this at once: one converts, the others wait and take its result.

    Raises:
        ModelError: not GGUF, truncated, or of an architecture or vocabulary that is not known.
        ResourceError: not enough room in the cache.
    """
    file = read_gguf(path)
    config = config_from_gguf(file)
    digest = files.sha256_file(path)
    target = cache / f"{digest[:32]}-v{VERSION}"
    found = Dequantised(target, digest, _origin(file), file.metadata.get("general.license"))
    if not is_whole(target):
        with files.locked(target.with_suffix(".lock"), say_waiting):
            if not is_whole(target):
                _convert(file, config, found)
    return found


def cached(folder: Path) -> Dequantised | None:
    """What :func:`dequantised` left in a cache folder, if it is still whole."""
    if not is_whole(folder):
        return None
    seal = read_seal(folder)
    return Dequantised(folder, seal["sha256"], seal["origin"], seal["licence"])


def _origin(file: GgufFile) -> str:
    kind = _quantisation(file)
    name = file.path.name
    if kind in ("F32", "F16", "BF16"):
        return f"{kind} GGUF ({name})"
    stored = "" if _stored_type(file, "Q") == "F32" else ", stored as bfloat16"
    return f"reconstruction of a {kind} GGUF ({name}){stored}"


def _quantisation(file: GgufFile) -> str:
    """The type that holds most of the values."""
    values: dict[str, int] = {}
    for tensor in file.tensors.values():
        if tensor.name != "token_embd.weight" or len(file.tensors) == 1:
            values[tensor.type_name] = values.get(tensor.type_name, 0) + int(np.prod(tensor.shape))
    return max(values, key=lambda kind: values[kind])


def _stored_type(file: GgufFile, type_name: str) -> str:
    if type_name in ("F16", "BF16"):
        return type_name
    total = sum(int(np.prod(tensor.shape)) for tensor in file.tensors.values())
    return "F32" if type_name == "F32" or total <= FLOAT32_LIMIT else "BF16"


def _convert(file: GgufFile, config: dict[str, Any], found: Dequantised) -> None:
    pending = list(_pending(file, architecture_of(file), config))
    total = sum(tensor.nbytes for tensor in pending)
    files.require_disk(found.folder.parent, total + 50_000_000, "the dequantised base model")
    with (
        console.progress(f"Dequantising {file.path.name}", total=total / 1e6, unit="MB") as bar,
        files.atomic_path(found.folder) as folder,
    ):
        folder.mkdir()
        write_tokenizer(file, folder)
        write_safetensors(folder / "model.safetensors", pending, lambda done: bar.advance(done / 1e6))
        largest = max(pending, key=lambda tensor: tensor.nbytes)
        config["dtype"] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[largest.dtype]
        write_json(folder / "config.json", config)
        ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        write_json(folder / "generation_config.json", {key: value for key, value in ends.items() if value is not None})
        write_seal(folder, asdict(found) | {"folder": str(found.folder), "source": str(file.path)})


def _pending(file: GgufFile, architecture: Architecture, config: dict[str, Any]) -> Iterator[Pending]:
    """One entry for each parameter of the transformers model, by comparing both sides' names and shapes.

    Raises:
        ModelError: a parameter has no tensor, a tensor has no parameter, or shapes differ.
    """
    with usable_settings(f"in {file.path}", "give the model's safetensors folder instead"):
        wanted = _parameters(config)
    to_gguf = _gguf_names(file, wanted)
    problems = [f"{name}: not in the file" for name, stored in to_gguf.items() if stored not in file.tensors]
    spare = file.tensors.keys() - set(to_gguf.values()) - set(ROPE_TENSORS)
    problems += [f"{name}: in the file, but not in a {config['model_type']} model" for name in sorted(spare)]
    problems += [
        f"{stored}: {file.tensors[stored].shape} in the file, {wanted[name]} in the model"
        for name, stored in to_gguf.items()
        if stored in file.tensors and file.tensors[stored].shape != wanted[name]
    ]
    if problems:
        raise ModelError(
            f"the tensors of {file.path} do not make a {config['model_type']} model",
            hint="give the model's safetensors folder instead",
            problems=problems[:12],
        )
    for name, stored in to_gguf.items():
        tensor = file.tensors[stored]
        make = partial(_values, file, tensor, architecture, config)
        yield Pending(name, _stored_type(file, tensor.type_name), wanted[name], make)


def _parameters(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters that transformers' model has, without making their values."""
    transformers = extras.require("transformers", extra="train", needed_for="a GGUF base model")
    import torch

    settings = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(config["model_type"], **settings)
        )
    return {name: tuple(value.shape) for name, value in model.named_parameters()}  # tied ones appear once


def _gguf_names(file: GgufFile, names: Iterable[str]) -> dict[str, str]:
    """What each parameter of transformers is called in the file, by the ``gguf`` package's own table."""
    gguf = extras.require("gguf", extra="gguf", needed_for="a GGUF base model")
    kind = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == file.architecture)
    table = gguf.get_tensor_name_map(kind, file.setting("block_count"))
    return {name: table.get_name(name, try_suffixes=(".weight", ".bias")) or "(unknown)" for name in names}


def _values(
    file: GgufFile, tensor: GgufTensor, architecture: Architecture, config: dict[str, Any]
) -> NDArray[np.float32]:
    values = file.values(tensor.name)
    if architecture.norm_plus_one and tensor.name.endswith("norm.weight"):
        values = values - np.float32(1)
    for part, heads in ((".attn_q.", "num_attention_heads"), (".attn_k.", "num_key_value_heads")):
        if architecture.permuted and part in tensor.name:
            values = unpermute(values, config[heads])
    return values


def unpermute(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo llama.cpp's row order of query and key weights.

    llama.cpp rotates neighbouring rows (2i, 2i + 1), transformers rows (i, i + half); shape (heads · d, …).
    """
    half = values.shape[0] // heads // 2
    return values.reshape(heads, half, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
