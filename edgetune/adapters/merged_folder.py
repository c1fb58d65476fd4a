"""A merged model as a Hugging Face folder that plain transformers loads, written tensor by tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgetune import console
from edgetune.adapters.merging import EMBEDDING, HEAD, MergedWeights
from edgetune.adapters.tensors import list_tensors
from edgetune.errors import ModelError
from edgetune.models import load_config, load_tokenizer, stop_ids
from edgetune.models.weights import INDEX, Pending, write_safetensors

#: Largest weight file, in bytes: one that every file system and copy tool takes. A larger model becomes several.
SHARD_BYTES = 4_000_000_000


def unties(weights: MergedWeights) -> bool:
    """Whether config.json ties head and embedding, and the adapter makes two of them."""
    touched = bool({HEAD, EMBEDDING} & weights.changed)
    return touched and HEAD in weights.tensors and bool(load_config(weights.base_folder).tie_word_embeddings)


def stored_types(weights: MergedWeights) -> dict[str, str]:
    """Name → ``F32``, ``F16`` or ``BF16`` of every tensor of the folder: as the base stores it.

    The head of a model that ties it is no tensor of its own.
    """
    base = list_tensors(weights.base_folder)
    tied = bool(load_config(weights.base_folder).tie_word_embeddings) and not unties(weights)
    names = [name for name in weights.tensors if not (tied and name == HEAD)]
    types = {name: base[name if name in base else EMBEDDING].dtype for name in names}
    return {name: "F32" if kind == "F64" else kind for name, kind in types.items()}


def pending_tensors(weights: MergedWeights) -> list[Pending]:
    """Every tensor of the folder, in the order of the base; nothing is read yet."""
    return [
        Pending(name, kind, weights.tensors[name].shape, partial(weights.read, name))
        for name, kind in stored_types(weights).items()
    ]


def write_merged(
    folder: Path, weights: MergedWeights, tokenizer_folder: Path, *, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write config.json, generation_config.json, weights and tokenizer into an empty folder.

    Memory: about four float32 copies of the largest tensor, with NF4 or without, and what the allocator keeps.

    Args:
        folder: there already; use :func:`edgetune.files.atomic_path` around it.
        weights: the merged model.
        tokenizer_folder: tokenizer files with the chat template; copied as they are.
        shard_bytes: largest weight file.

    Raises:
        ModelError: a file of the base, the adapter or the tokenizer is damaged.
    """
    config = _config(weights)
    _dump(folder / "config.json", config)
    _dump(folder / "generation_config.json", _generation(weights.base_folder, config, tokenizer_folder))
    for file in sorted(tokenizer_folder.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    shards = _shards(pending_tensors(weights), shard_bytes)
    if len(shards) > 1:
        _dump(folder / INDEX, _index(shards))
    total = sum(tensor.nbytes for shard in shards.values() for tensor in shard)
    with console.progress("Writing the merged model", total=total / 1e6, unit="MB") as bar:
        for name, shard in shards.items():
            write_safetensors(folder / name, shard, lambda done: bar.advance(done / 1e6))


def _config(weights: MergedWeights) -> dict[str, Any]:
    """The base's, with what the adapter changed in the model's build."""
    config = _read(weights.base_folder / "config.json")
    rows = weights.tensors[EMBEDDING].shape[0] if EMBEDDING in weights.changed else None
    if rows is not None and rows != list_tensors(weights.base_folder)[EMBEDDING].shape[0]:
        config["vocab_size"] = rows
    if unties(weights):
        config["tie_word_embeddings"] = False
    return config


def _generation(base_folder: Path, config: Mapping[str, Any], tokenizer_folder: Path) -> dict[str, Any]:
    """The base's settings of generation, ended by every token that ends an answer in training."""
    file = base_folder / "generation_config.json"
    tokens = {
        key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None
    }
    settings = _read(file) if file.is_file() else tokens
    ends: Any = SimpleNamespace(eos_token_id=settings.get("eos_token_id", config.get("eos_token_id")))
    ids = list(stop_ids(load_tokenizer(tokenizer_folder), ends))
    return settings | ({"eos_token_id": ids[0] if len(ids) == 1 else ids} if ids else {})


def _shards(tensors: Sequence[Pending], limit: int) -> dict[str, list[Pending]]:
    """File name → its tensors, in order; a tensor is never cut."""
    shards: list[list[Pending]] = [[]]
    for tensor in tensors:
        if shards[-1] and sum(one.nbytes for one in shards[-1]) + tensor.nbytes > limit:
            shards.append([])
        shards[-1].append(tensor)
    if len(shards) == 1:
        return {"model.safetensors": shards[0]}
    return {f"model-{i:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards, start=1)}


def _index(shards: Mapping[str, Sequence[Pending]]) -> dict[str, Any]:
    total = sum(tensor.nbytes for shard in shards.values() for tensor in shard)
    places = {tensor.name: file for file, shard in shards.items() for tensor in shard}
    return {"metadata": {"total_size": total}, "weight_map": places}


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"cannot read {path}: {error}", hint="download or copy the base model again") from error
    return found


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
