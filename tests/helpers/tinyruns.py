"""A trained run of a tiny model, made without training, and artifacts for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rowfiles import write_rows
from tinygguf import write_tiny_gguf
from tinymodels import tiny_model, tiny_tokenizer

from edgetune import files
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.models.base import resolve_base
from edgetune.recipe import ModelSettings, resolve
from edgetune.run import Run, create_run

RECIPE = """
name: tiny
model: {{source: {source}}}
task: {{metrics: [exact_match], max_new_tokens: 4, system: Be brief}}
data: {{heldout_limit: 6}}
"""
ROWS = [
    {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": f"{n}!"}]} for n in range(9)
]


def write_base(folder: Path) -> Path:
    """A model folder: the tiny Llama and its tokenizer."""
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def write_adapter(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A random rank-2 adapter for the tiny Llama; ``changes`` make it one for another model."""
    from peft import LoraConfig, get_peft_model

    model = tiny_model("llama", **changes)
    torch.manual_seed(seed)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(folder)
    return folder


def write_run(folder: Path, base: Path, source: str | Path | None = None, **changes: Any) -> Run:
    """A trained run of ``base``; ``changes`` go into its manifest.

    Args:
        folder: where; the recipe is written beside it.
        base: model folder.
        source: what the recipe calls the base; default: the folder.
        changes: fields of the manifest.
    """
    recipe = folder.with_name("recipe.yaml")
    recipe.write_text(RECIPE.format(source=source or base))
    run = create_run(resolve(recipe), folder, created="2026-01-01T00:00:00Z", version="0")
    run.data_folder.mkdir()
    write_rows(run.heldout_file, ROWS)
    write_rows(run.train_file, ROWS)
    write_adapter(run.adapter_folder)
    tiny_tokenizer().save_pretrained(run.tokenizer_folder)
    given = {
        "state": "trained",
        "base_source": str(source or base),
        "base_folder": str(base),
        "base_sha256": resolve_base(ModelSettings(source=str(base)), folder.parent).sha256,
        "trained_against": "base",
    }
    run.update_manifest(**(given | changes))
    return run


def write_artifact(folder: Path, name: str = "tiny-q8_0", seed: int = 0) -> Artifact:
    """A tiny GGUF with a manifest."""
    folder.mkdir(parents=True)
    file = write_tiny_gguf(folder / "tiny.gguf", seed=seed)
    manifest = ArtifactManifest(
        name=name,
        format="gguf",
        precision="f32",
        runtime="llama.cpp",
        main_file="tiny.gguf",
        weights="merged",
        architecture="LlamaForCausalLM",
        base_source="x",
        base_sha256="x",
        merged_into="base",
        chat_template_sha256="t",
        stop_ids=(2,),
        system="Be brief",
        context_length=512,
        parameters=1,
        tensor_types={},
        fallbacks={},
        sha256=dict(files.sha256_files(folder)),
        size_bytes=file.stat().st_size,
        edgetune="0",
        created="2026-01-01T00:00:00Z",
    )
    return write_manifest(folder, manifest)
