"""What a run is made from besides its settings: the files that its recipe names, by hash.

A run goes on, or counts as done, only while these are the ones that it began with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from edgetune import files
from edgetune.data.reading import locate
from edgetune.errors import EdgetuneError, ModelError
from edgetune.models import resolve_base
from edgetune.recipe import Resolved, to_yaml
from edgetune.run import Run, RunManifest, is_run, open_run

#: How the keys of a data script, of what it names and of its arguments begin.
_PREPARE = "data.prepare."
_BESIDE = f"{_PREPARE}script ("


def default_folder(resolved: Resolved, root: Path = Path("runs")) -> Path:
    """``runs/NAME-HASH``: the same settings over the same files give the same folder, so a second run resumes.

    Of the base it is the place that counts; its weights are compared when the run is opened. What a data script
    wrote beside itself when a run was made does not count for that run.
    """
    found = hash_sources(resolved)
    plain = _folder(resolved, found, root)
    if is_run(plain):
        return plain
    for folder, manifest in _manifests(root, resolved.recipe.name):
        kept = {key: digest for key, digest in found.items() if not _wrote(manifest, key)}
        former = {key: digest for key, digest in manifest.sources_sha256.items() if _wrote(manifest, key)}
        if manifest.script_wrote and _folder(resolved, kept | former, root) == folder:
            return folder
    return plain


def _manifests(root: Path, name: str) -> Iterator[tuple[Path, RunManifest]]:
    """Of the runs with default folders; one that cannot be read is no run to go on with."""
    for folder in sorted(root.glob(f"{name}-*")):
        with suppress(EdgetuneError):
            if is_run(folder):
                yield folder, open_run(folder).manifest


def _folder(resolved: Resolved, sources: Mapping[str, str], root: Path) -> Path:
    base = resolved.locate(resolved.recipe.model.source)
    parts = [to_yaml(resolved.recipe), sources, str(base) if base.exists() else ""]
    digest = files.sha256_json(parts)[:8]
    return root / f"{resolved.recipe.name}-{digest}"


def written_between(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Keys of what a data script wrote while it ran; a folder that it made is one, ending in ``/``.

    Code is not among them: whoever changed that meanwhile was not the script.

    >>> written_between({"data.prepare.script (a.txt)": "1"}, {"data.prepare.script (cache/b/c.bin)": "2"})
    ('data.prepare.script (cache/',)
    """
    new = [key for key in after if key.startswith(_PREPARE) and not key.endswith(".py)")]
    return tuple(sorted({_made(key, before) for key in new if before.get(key) != after[key]}))


def _made(key: str, before: Mapping[str, str]) -> str:
    """The outermost folder of a file in which there was nothing before; else the file itself."""
    ends = [at + 1 for at, letter in enumerate(key) if letter == "/" and key.startswith(_BESIDE)]
    made = (key[:end] for end in ends if not any(known.startswith(key[:end]) for known in before))
    return next(made, key)


def _wrote(manifest: RunManifest, key: str) -> bool:
    return any(key == one or (one.endswith("/") and key.startswith(one)) for one in manifest.script_wrote)


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
        if known.get(key, digest) != digest and not _wrote(run.manifest, key)
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
        named |= {f"{_BESIDE}{path.relative_to(script.parent).as_posix()})": path for path in own}
        given = {argument: Path(argument) for argument in data.prepare.arguments if Path(argument).is_file()}
        named |= {f"{_PREPARE}arguments ({argument})": path for argument, path in given.items()}
    return named


def script_files(script: Path) -> list[Path]:
    """A script, and what lies beside it that it names or imports, or that those do in turn; folders whole."""
    found = [script] if script.is_file() else []
    beside = sorted(path for path in script.parent.iterdir() if path.is_file() or path.is_dir()) if found else []
    for file in found:
        text = file.read_text(encoding="utf-8", errors="replace") if file.suffix == ".py" else ""
        named = [path for path in beside if _is_named(path, text) and _counts(path)]
        found += [path for one in named for path in _files_of(one) if path not in found]
    return found


def _counts(path: Path) -> bool:
    """Not what hides, nor what Python compiled, nor a run and the folders around it."""
    hidden = path.name.startswith(".") or path.name == "__pycache__"
    return not hidden and not (path.is_dir() and (is_run(path) or any(is_run(below) for below in path.iterdir())))


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.is_file() else []
    parts = [part for part in sorted(path.iterdir()) if not (part.is_symlink() and part.is_dir())]  # they may go round
    return [file for part in parts if _counts(part) for file in _files_of(part)]


def _is_named(path: Path, text: str) -> bool:
    name = re.escape(path.stem if path.suffix == ".py" else path.name)
    if path.is_dir():  # in a string or an import: as a word it may mean anything
        return re.search(rf"""["'/]{name}["'/]|^\s*(?:from|import)\b.*\b{name}\b""", text, re.MULTILINE) is not None
    return re.search(rf"(?<![\w.-]){name}(?![\w-])", text) is not None


def _hash(path: Path) -> str | None:
    if path.is_dir():
        return files.sha256_json(dict(files.sha256_files(path)))
    return files.sha256_file(path) if path.is_file() else None
