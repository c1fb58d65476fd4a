"""From a recipe to a run whose rows and base are fixed: what is trained on cannot change any more."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgetune import __version__, console, files
from edgetune.data.conversation import Conversation, shared_system, write_rows
from edgetune.data.labelled import load_labelled, require_classes
from edgetune.data.pictures import Album
from edgetune.data.reading import LoadedRows, load_rows
from edgetune.data.splitting import Leak, find_leaks, split, take
from edgetune.errors import DataError, RecipeError
from edgetune.models import Base, hash_config, load_config, resolve_base
from edgetune.models.classifier import longest_text
from edgetune.recipe import PrepareSettings, ReplaySettings, Resolved
from edgetune.recipes import RECIPE_FILE, shipped_recipes
from edgetune.run import Run, create_run
from edgetune.sources import hash_sources, written_between
from edgetune.training.inputs import inputs_of
from edgetune.training.lessons import longest_row

#: Packages whose version can change a number.
PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers", "numpy", "safetensors")
LEAKS_NAMED = 5
WARNINGS_TOLD = 5


def prepare_run(resolved: Resolved, folder: Path, *, allow_scripts: bool) -> Run:
    """Make the run folder, fix its rows and find its base.

    Args:
        resolved: the recipe.
        folder: of the run; new or empty.
        allow_scripts: run a data script that did not come with edgetune.

    Raises:
        DataError, ModelError, RecipeError, ResourceError: nothing of the run is left behind, so the
            same command works once the cause is mended.
    """
    base = resolve_base(resolved.recipe.model, resolved.path.parent)
    sources = hash_sources(resolved)  # before they are read: a change in between is seen later
    inputs, album = inputs_of(resolved, base), Album()
    with tempfile.TemporaryDirectory(prefix="edgetune-") as scratch:
        rows = _rows(resolved, Path(scratch), album, allow_scripts=allow_scripts)
        system = resolved.recipe.task.system
        _report_leaks("training", rows.train, rows.heldout, system)
        _report_leaks("replayed", rows.replay, rows.heldout, system)
        _report_leaks("validation", rows.validation, rows.heldout, system)
        learnt = find_leaks(rows.train, rows.validation, system)
        _warn_of_leaks("validation", learnt, "the checkpoint is chosen by what it learnt")
        facts = _facts(resolved, rows, base)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        run = create_run(resolved, folder, created=now, version=__version__)
        if resolved.recipe.task.kind == "image-classification":
            album.write(run.data_folder, [row for conversations in vars(rows).values() for row in conversations])
    for name, conversations in vars(rows).items():
        if conversations:
            write_rows(run.rows_file(name), conversations)
    fed = inputs.write(run)
    wrote = written_between(sources, hash_sources(resolved)) if resolved.recipe.data.prepare else ()
    hashes = {"data_sha256": {name: files.sha256_file(path) for name, path in run.row_files.items()}}
    fixed = {"sources_sha256": sources, "script_wrote": wrote, **_base_fields(base), **hashes, **fed, **facts}
    run.update_manifest(state="prepared", versions=_versions(), **fixed)
    return run


def _facts(resolved: Resolved, rows: _Rows, base: Base) -> dict[str, object]:
    """What is fixed of a run by its rows and its kind of task.

    Raises:
        DataError: a classifier cannot be trained on them.
        RecipeError: longer rows are wanted than the model can read.
    """
    if resolved.recipe.task.kind == "generation":
        _note_system(resolved, rows.train)
        return {}
    names = require_classes(rows.train, {"validation": rows.validation, "held-out": rows.heldout})
    if resolved.recipe.task.kind == "image-classification":
        return {"labels": names}
    config = load_config(base.folder, trust_remote_code=resolved.recipe.model.trust_remote_code)
    return {"labels": names, "max_tokens": longest_row(resolved.recipe.data.max_tokens, longest_text(config))}


def _note_system(resolved: Resolved, rows: Sequence[Conversation]) -> None:
    """Say so where a system prompt that the model learns with would not travel with what is exported."""
    if resolved.recipe.task.system is None and (shared := shared_system(rows)):
        console.note(
            "note: every row has the same system prompt, and the exported file would not bring it along; "
            f"put it into the recipe: task.system: {json.dumps(shared, ensure_ascii=False)}"
        )


@dataclass(frozen=True)
class _Rows:
    """The rows of each file of a run; ``validation`` is empty where held-out rows choose the checkpoint."""

    train: Sequence[Conversation]
    replay: Sequence[Conversation]
    validation: Sequence[Conversation]
    heldout: Sequence[Conversation]


def _rows(resolved: Resolved, scratch: Path, album: Album, *, allow_scripts: bool) -> _Rows:
    data, seed = resolved.recipe.data, resolved.recipe.train.seed
    sources = {"train": data.train, "validation": data.validation, "heldout": data.heldout}
    if data.prepare is not None:
        _run_script(resolved, data.prepare, scratch, allow_scripts=allow_scripts)
        made = {name: scratch / f"{name}.jsonl" for name in sources}
        for name, path in made.items():  # what the recipe names itself goes before
            if sources[name] is None and (name != "validation" or path.is_file()):
                sources[name] = str(path)
    if sources["train"] is None:
        raise RecipeError("data.train: required, unless data.prepare makes the rows", hint="--data-train FILE")
    found = {name: _load(resolved, source, scratch, album) for name, source in sources.items() if source is not None}
    train, heldout = found["train"], found.get("heldout")
    if heldout is None:
        parted = split(train, data.heldout_share, seed, resolved.recipe.task.system)
        console.note(parted.reason)
        train, heldout = parted.train, parted.heldout
    if not train or not heldout:
        raise DataError("no rows to train on" if not train else "no held-out rows", hint="edgetune data check FILE")
    train = take(train, data.train_limit, seed)
    replay = _replay(resolved, data.replay, len(train)) if data.replay else ()
    return _Rows(train, replay, found.get("validation", ()), heldout)


def _replay(resolved: Resolved, replay: ReplaySettings, own: int) -> Sequence[Conversation]:
    """General rows: a share of the training rows, each at most once.

    Raises:
        DataError: the source has no rows, or some that cannot be used.
    """
    rows = load_rows(_place(resolved, replay.source)).raise_on_problems().rows
    wanted = max(1, round(replay.share * own))
    chosen = take(rows, wanted, resolved.recipe.train.seed)
    if not chosen:
        raise DataError(f"data.replay.source: {replay.source} holds no rows", hint="edgetune data check FILE")
    fewer = f": all that it holds, fewer than the {wanted} asked for" if len(chosen) < wanted else ""
    console.note(f"{len(chosen)} rows of {replay.source} are mixed with {own} training rows{fewer}")
    return chosen


def _load(resolved: Resolved, source: str, scratch: Path, album: Album) -> Sequence[Conversation]:
    """The rows of a file in the layout that the task needs; images go into the album.

    Raises:
        DataError: rows that cannot be used.
    """
    recipe, place = resolved.recipe, _place(resolved, source)
    if recipe.task.kind == "generation":
        return load_rows(place, recipe.data.format).raise_on_problems().rows
    rows = _told(load_labelled(place, recipe, scratch / "images")).raise_on_problems().rows
    return album.named(rows) if recipe.task.kind == "image-classification" else rows


def _told(loaded: LoadedRows) -> LoadedRows:
    """The same; what a folder holds besides images, and classes without any, are told."""
    for problem in loaded.warnings[:WARNINGS_TOLD] if loaded.format == "images" else ():
        console.note(f"warning: {problem}")
    return loaded


def _place(resolved: Resolved, source: str) -> str:
    return source if source.startswith("hub:") else str(resolved.locate(source))


def _run_script(resolved: Resolved, prepare: PrepareSettings, output: Path, *, allow_scripts: bool) -> None:
    """Run a recipe's data script in a process of its own.

    Raises:
        RecipeError: no such script, or one that is not edgetune's own and was not allowed.
        DataError: it failed.
    """
    script = resolved.locate(prepare.script)
    if not script.is_file():
        raise RecipeError(f"data.prepare.script: no such file: {script}", hint=f"mend it in {resolved.path}")
    if (shipped := shipped_twin(script)) is not None:
        script = shipped  # run from edgetune's own folder: nothing beside the recipe can be imported instead
    elif not allow_scripts:
        raise RecipeError(
            f"{script} is Python code that did not come with edgetune, and would run with your rights",
            hint="read it, then add --allow-scripts",
        )
    command = [sys.executable, str(script), "--output", str(output), *prepare.arguments]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603  # the user's own recipe, or allowed by flag
        raise DataError(f"{script.name} failed; its own message is above", hint=f"try it alone: python {script} --help")


def shipped_twin(script: Path) -> Path | None:
    """The script of a shipped recipe that is this one: its folder's files but the recipe are the same byte for byte."""
    beside = _contents(script.parent)
    for recipe in shipped_recipes():
        twin = recipe.folder / script.name
        if twin.is_file() and beside == _contents(recipe.folder):
            return twin
    return None


def _contents(folder: Path) -> dict[str, str]:
    own = {name: digest for name, digest in files.sha256_files(folder).items() if "__pycache__/" not in name}
    own.pop(RECIPE_FILE, None)
    return own


def _report_leaks(kind: str, rows: Sequence[Conversation], heldout: Sequence[Conversation], system: str | None) -> None:
    found = find_leaks(rows, heldout, system)
    leaks = [leak for leak in found if leak.kind == "row"]
    if leaks:
        raise DataError(
            f"{len(leaks)} of {len(heldout)} held-out rows are in the {kind} rows too, so nothing measured on them "
            "would mean anything",
            hint="take them out of one file, or leave data.heldout away to have rows held out for you",
            problems=[f"{leak.heldout}: same as {leak.train}" for leak in leaks[:LEAKS_NAMED]],
        )

    if kind != "validation":
        _warn_of_leaks("held-out", found, "figures on them flatter")


def _warn_of_leaks(kind: str, leaks: Sequence[Leak], so: str) -> None:
    """Tell of rows whose prompts training has, whatever it answers there."""
    if leaks:
        named = ", ".join(f"{leak.heldout} (as {leak.train})" for leak in leaks[:LEAKS_NAMED])
        more = ", …" if len(leaks) > LEAKS_NAMED else ""
        said = f"{len(leaks)} {kind} rows have prompts that training has too, case and spacing aside"
        console.note(f"warning: {said}, so {so}: {named}{more}")


def _base_fields(base: Base) -> dict[str, str]:
    return {
        "base_source": base.source,
        "base_folder": str(base.folder),
        "base_sha256": base.sha256,
        "base_config_sha256": hash_config(base.folder),
        "base_origin": base.origin,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # bitsandbytes does not exist for every system
    return found
