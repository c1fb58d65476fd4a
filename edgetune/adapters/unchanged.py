"""Whether a run's result is what its training wrote: its weights, its tokenizer, its chat template.

Training records the hash of each. A run from before that says nothing about its weights: then that is told.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgetune import console, files
from edgetune.adapters.lora import read_adapter
from edgetune.errors import ModelError
from edgetune.images.preprocessing import CONFIG
from edgetune.models import hash_template, hash_tokenizer, load_tokenizer
from edgetune.run import Run

#: A change of these may write the same tokenizer in another way.
_TOKENIZERS = ("tokenizers", "transformers")
#: Of a folder's files: name, time of change, size. The same: nothing need be read again in this process.
_State = tuple[tuple[str, int, int], ...]


def require_as_trained(run: Run) -> None:
    """Check weights and tokenizer of a trained run.

    Raises:
        ModelError: they were changed after training; every file is named.
    """
    require_inputs(run)
    folder = run.adapter_folder if run.adapter_folder.is_dir() else run.model_folder
    recorded = run.manifest.result_sha256
    if not recorded:
        _tell_nothing_recorded(run.folder)
        if folder == run.adapter_folder:
            require_changes(folder)
        return
    found = _hashes(folder, _state(folder))
    problems = [
        f"{name}: {'changed' if name in found else 'missing'}"
        for name, digest in recorded.items()
        if found.get(name) != digest
    ]
    if problems:
        raise ModelError(
            f"{folder} is not what training wrote: {problems[0]}",
            hint="put the former files back, or train again with another --output",
            problems=problems,
        )


def require_inputs(run: Run) -> None:
    """Check that what turns texts or pictures into numbers is what was trained with.

    Raises:
        ModelError: it is not.
    """
    if not run.manifest.preprocessing_sha256:
        require_tokenizer(run)
        return
    file = run.preprocessing_folder / CONFIG
    if not file.is_file() or files.sha256_file(file) != run.manifest.preprocessing_sha256:
        raise ModelError(
            f"{file} is not the one trained with",
            hint="put the former file back, or train again with another --output",
        )


def require_tokenizer(run: Run) -> None:
    """Check that tokenizer and chat template are those trained with.

    Raises:
        ModelError: they are not.
    """
    manifest, folder = run.manifest, run.tokenizer_folder
    tokenizer, template = _tokenizer_hashes(folder, _state(folder))
    problems = ["its chat template"] if manifest.chat_template_sha256 not in ("", template) else []
    if manifest.tokenizer_sha256 not in ("", tokenizer):
        others = [name for name in _TOKENIZERS if manifest.versions.get(name, _installed(name)) != _installed(name)]
        if others and not problems:
            console.note(
                f"warning: the tokenizer in {folder} has another hash than in training; {' and '.join(others)} "
                "had another version then, so that may be all"
            )
            return
        problems.append("its vocabulary or rules")
    if problems:
        raise ModelError(
            f"the tokenizer in {folder} is not the one trained with: {' and '.join(problems)} changed",
            hint="put the former files back, or train again with another --output",
        )


def require_changes(folder: Path) -> None:
    """Check that an adapter changes something. Modules that nothing changes are told.

    Raises:
        ModelError: A or B of every module is zero, as before the first step.
    """
    adapter = read_adapter(folder)
    idle = [name for name, change in adapter.changes.items() if not change.changes_something()]
    if adapter.changes and len(idle) == len(adapter.changes) and not adapter.replacements:
        raise ModelError(
            f"the adapter {folder} changes nothing: lora_A or lora_B of all {len(idle)} modules is zero",
            hint="it was never trained, or its file was made anew: train again, or copy it again",
        )
    if idle:
        console.note(
            f"warning: {len(idle)} of {len(adapter.changes)} modules of {folder} change nothing "
            f"(lora_A or lora_B is zero), such as {idle[0]}"
        )


@lru_cache(maxsize=8)
def _hashes(folder: Path, state: _State) -> dict[str, str]:  # noqa: ARG001  # the state is part of the key
    return dict(files.sha256_files(folder))


@lru_cache(maxsize=8)
def _tokenizer_hashes(folder: Path, state: _State) -> tuple[str, str]:  # noqa: ARG001
    tokenizer = load_tokenizer(folder)
    return hash_tokenizer(tokenizer), hash_template(tokenizer)


@lru_cache(maxsize=8)
def _tell_nothing_recorded(folder: Path) -> None:
    console.note(
        f"note: {folder} does not record what its weights were after training (an older edgetune made it), "
        "so a change since then cannot be seen"
    )


def _state(folder: Path) -> _State:
    found = [(path.name, path.stat()) for path in sorted(folder.glob("*")) if path.is_file()]
    return tuple((name, about.st_mtime_ns, about.st_size) for name, about in found)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
