"""GGUF LoRA files: which model one belongs to, and loading it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.exporters import adapter_base
from edgetune.runtimes.gguf_header import GgufHeader, check_file
from edgetune.runtimes.llama_native import Model

#: Metadata keys that the exporter writes: the system prompt trained with,
SYSTEM_KEY = "edgetune.system"
#: a hash over the weights beneath an adapter, in the adapter and in the base,
BASE_KEY = "edgetune.adapter_base"
#: the base's name, in both,
NAME_KEY = "general.base_model.0.name"
#: and in an adapter the hash of the chat template that it was trained with.
TEMPLATE_KEY = "edgetune.chat_template_sha256"


@dataclass(frozen=True)
class LlamaAdapter:
    """An adapter in memory.

    Attributes:
        handle: llama.cpp's.
        system: system prompt that it was trained with.
    """

    handle: Any
    system: str | None


def require_model(path: Path, header: GgufHeader) -> None:
    """Refuse an adapter where a model is wanted.

    Raises:
        ArtifactError: with the command that runs it.
    """
    if header.metadata.get("general.type") == "adapter":
        raise ArtifactError(
            f"{path} is an adapter: it runs on a base",
            hint=f"edgetune chat BASE --adapter {path}; the base is {header.metadata.get(NAME_KEY, 'not named in it')}",
        )


def load_adapter(model: Model, model_file: Path, artifact: Artifact) -> LlamaAdapter:
    """Load an adapter beside a model.

    Args:
        model: loaded.
        model_file: that it was loaded from.
        artifact: the adapter, or a bare GGUF LoRA.

    Raises:
        ArtifactError: it is damaged, no adapter, or of another base or chat template.
    """
    file = artifact.main_file
    keys = check_file(file).metadata
    if keys.get("general.type") != "adapter":
        raise ArtifactError(
            f"{file} is a model, not an adapter", hint="edgetune export RUN --adapter separate writes one"
        )
    if BASE_KEY in keys:
        _require_base(model, model_file, file, keys)
    else:
        console.note(f"warning: {file} does not say which base it belongs to, so only the shapes are checked")
    template = keys.get(TEMPLATE_KEY)
    if template and template != files.sha256_text(model.metadata("tokenizer.chat_template") or ""):
        raise ArtifactError(
            f"{file} was trained with another chat template than {model_file} has",
            hint="edgetune export RUN --adapter separate --with-base q8_0 writes a base with the right one",
        )
    own = artifact.manifest.system if artifact.manifest else None
    return LlamaAdapter(model.load_adapter(file), own or keys.get(SYSTEM_KEY))


def _require_base(model: Model, model_file: Path, file: Path, keys: Mapping[str, Any]) -> None:
    found = model.metadata(BASE_KEY)
    if found is None and model.metadata("edgetune.version"):
        raise ArtifactError(
            f"{model_file} is a tuned model, and {file} belongs on its untuned base",
            hint="edgetune export RUN --adapter separate --with-base q8_0 writes that base",
        )
    # A file made elsewhere is the base itself where training began from this very file.
    found = found or adapter_base(files.sha256_file(model_file))
    if found != keys[BASE_KEY]:
        against = {"nf4": "rounded to NF4"}.get(str(keys.get("edgetune.trained_against")), "as it is")
        other = model.metadata(NAME_KEY) or model_file.name
        raise ArtifactError(
            f"{file} belongs to another base: it was trained on {keys.get(NAME_KEY)}, {against} "
            f"(hash {keys[BASE_KEY][:12]}); {model_file} is {other} (hash {found[:12]})",
            hint="edgetune export RUN --adapter separate --with-base q8_0 writes the right one",
        )
