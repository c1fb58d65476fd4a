"""Two folders: the merged model that a builder reads, and what lies around a finished graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetune import console, files
from edgetune.models.weights import Pending, write_safetensors
from edgetune_onnx import layout
from edgetune_onnx.prepared import Prepared
from edgetune_onnx.tokenizer_files import write_tokenizer


def write_merged(prepared: Prepared, folder: Path) -> None:
    """The final weights as a model folder that the builder reads."""
    folder.mkdir()
    weights = prepared.weights

    def pending(name: str) -> Pending:
        return Pending(name, "F32", weights.tensors[name].shape, lambda: weights.read(name))

    with console.progress("Merging", prepared.float_bytes / 1e6, "MB") as bar:
        tensors = [pending(name) for name in prepared.names]
        write_safetensors(folder / "model.safetensors", tensors, lambda done: bar.advance(done / 1e6))
    files.write_json(
        folder / layout.CONFIG, layout.config_json(prepared.config, prepared.model.base_folder, tied=prepared.tied)
    )
    files.write_json(folder / layout.GENERATION, layout.generation_json(prepared.config, prepared.stop_ids))
    write_tokenizer(prepared.model.tokenizer_folder, folder)


def write_surroundings(prepared: Prepared, folder: Path, names: Sequence[str]) -> None:
    """Tokenizer and configurations; ``genai_config.json`` is there already. ``names`` are the graph's files."""
    config = layout.config_json(prepared.config, prepared.model.base_folder, tied=prepared.tied)
    config["transformers.js_config"] = layout.javascript_json(prepared.precision, names)
    generation = layout.generation_json(prepared.config, prepared.stop_ids)
    genai = layout.genai_json(prepared.config, prepared.stop_ids, f"{layout.GRAPHS}/{names[0]}", places=prepared.places)
    layout.write_configs(folder, config, generation, genai, layout.search_json(prepared.config))
    write_tokenizer(prepared.model.tokenizer_folder, folder)
