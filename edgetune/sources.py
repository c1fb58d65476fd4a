"""What a run is made from besides its settings: the files that its recipe names, by hash.

A run goes on, or counts as done, only while these are the ones that it began with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from edgetune import files
from edgetune.data.reading import locate
from edgetune.errors import ModelError
from edgetune.models import resolve_base
from edgetune.recipe import Resolved, to_yaml
from edgetune.run import Run


def default_folder(resolved: Resolved, root: Path = Path("runs")) -> Path:
    """``runs/NAME-HASH``: the same settings over the same files give the same folder, so a second run resumes.

    Of the base it is the place that counts; its weights are compared when the run is opened.
    """
    base = resolved.locate(resolved.recipe.model.source)
    parts = [to_yaml(resolved.recipe), hash_sources(resolved), str(base) if base.exists() else ""]
    digest = files.sha256_text(json.dumps(parts, sort_keys=True))[:8]
    return root / f"{resolved.recipe.name}-{digest}"


def hash_sources(resolved: Resolved) -> dict[str, str]:
    """Key of the recipe → SHA-256 of the file that it names; of data scripts also what lies beside them.

    What is not there has no hash, nor has what lies on a hub.
    """
    return {key: digest for key, path in _named(resolved).items() if (digest := _hash(path))}


def changed_sources(run: Run, resolved: Resolved) -> list[str]:
    """What the recipe's files hold now that they did not when the run was prepared, in words.

    A file that is gone has not changed, since the run has its own copy of the rows; what was not recorded
    when the run was prepared cannot be told either.
    """
    known, found, paths = run.manifest.sources_sha256, hash_sources(resolved), _named(resolved)
    problems = [
        f"{key}: {paths[key]} changed since the run was prepared"
        for key, digest in found.items()
        if known.get(key, digest) != digest
    ]
    return [*problems, *_changed_base(run, resolved)]


def _changed_base(run: Run, resolved: Resolved) -> list[str]:
    """Whether the recipe's base is another by now. One that is trained on yet is compared when training goes on."""
    manifest, model = run.manifest, resolved.recipe.model
    path = resolved.locate(model.source)
    here = path.exists() or model.source.startswith("pkg:")
    if not here or not manifest.base_sha256 or (manifest.state != "trained" and manifest.base_source == str(path)):
        return []
    try:
        base = resolve_base(model, resolved.path.parent)
    except ModelError as error:
        return [f"model.source: {error.message}"]
    return [] if base.sha256 == manifest.base_sha256 else [f"model.source: {base.source} has other weights"]


def _named(resolved: Resolved) -> Mapping[str, Path]:
    """Every local file or folder that decides what is trained, by the key that names it. The base is not among them."""
    recipe = resolved.recipe
    data = recipe.data
    written = {
        "data.train": data.train,
        "data.validation": data.validation,
        "data.heldout": data.heldout,
        "data.replay.source": data.replay.source if data.replay else None,
        "model.chat_template": recipe.model.chat_template,
    }
    named = {
        key: locate(str(resolved.locate(value)))[0]
        for key, value in written.items()
        if value is not None and not value.startswith("hub:")
    }
    if data.prepare is not None:
        script = resolved.locate(data.prepare.script)
        own = [path for path in script_files(script) if path != resolved.path]
        named |= {f"data.prepare.script ({path.name})": path for path in own}
        given = {argument: Path(argument) for argument in data.prepare.arguments if Path(argument).is_file()}
        named |= {f"data.prepare.arguments ({argument})": path for argument, path in given.items()}
    return named


def script_files(script: Path) -> list[Path]:
    """A script, and the files beside it that it names or imports, or that those do in turn."""
    found = [script] if script.is_file() else []
    beside = sorted(path for path in script.parent.iterdir() if path.is_file()) if found else []
    for file in found:
        text = file.read_text(encoding="utf-8", errors="replace") if file.suffix == ".py" else ""
        found += [path for path in beside if path not in found and _is_named(path, text)]
    return found


def _is_named(path: Path, text: str) -> bool:
    name = path.stem if path.suffix == ".py" else path.name
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None


def _hash(path: Path) -> str | None:
    if path.is_dir():
        return files.sha256_text(json.dumps(dict(files.sha256_files(path)), sort_keys=True))
    return files.sha256_file(path) if path.is_file() else None
