"""``edgetune init``: look at a data file and write a recipe in which every value says why."""

from __future__ import annotations

import json
import os
import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgetune import files
from edgetune.data.advice import Advice
from edgetune.data.bases import BASES
from edgetune.data.conversation import Problem
from edgetune.data.kinds import Kind, kind_of
from edgetune.data.looking import look
from edgetune.data.reading import locate
from edgetune.errors import RecipeError
from edgetune.recipe import Recipe, TaskKind, validate

SECTIONS = {"model": "The base", "task": "What it shall do", "data": "The examples", "method": "How it is adapted"}
SECTIONS |= {"augment": "Changes to training images, drawn anew for each pass", "train": "The optimisation"}
SECTIONS |= {"exports": "What `edgetune run` writes after training"}


@dataclass(frozen=True)
class Proposal:
    """A recipe and how it was arrived at."""

    path: Path
    recipe: Recipe
    advice: tuple[Advice, ...]
    warnings: tuple[Problem, ...]


def write_recipe(
    data: str,
    output: Path,
    *,
    kind: Kind | None = None,
    model: str | None = None,
    force: bool = False,
) -> Proposal:
    """Look at ``data`` and write a commented recipe to ``output``.

    Args:
        data: see :func:`edgetune.data.pictures.load_images`.
        output: the YAML file.
        kind: what the rows are for. Default: what their keys say.
        model: base model; its tokenizer then counts tokens. Default: a small one, and lengths are estimated.
        force: replace an existing file.

    Raises:
        RecipeError: ``output`` exists.
        DataError: rows that cannot be used.
        ModelError: ``model`` cannot be loaded.
    """
    if output.exists() and not force:
        raise RecipeError(f"{output} exists", hint="choose another --output, or replace it with --force")
    kind = kind or kind_of(data)
    looked = look(data, kind, model)
    advice = (*_sources(data, looked.heldout, output, model, kind.task), *looked.advice)
    text = "".join(f"{line}\n" for line in _lines(advice, _name(data), _command(data, kind, model)))
    recipe = validate(yaml.safe_load(text), str(output))
    files.write_text(output, text)
    return Proposal(output, recipe, advice, looked.warnings)


def _sources(data: str, heldout: Path | None, output: Path, model: str | None, task: TaskKind) -> Iterator[Advice]:
    """Where model and rows come from, with paths relative to the recipe."""
    base = BASES[task]
    if model is not None:
        yield Advice("model.source", _relative(model, output), "as given")
    else:
        here = "; this copy is in an installed package" if base.is_installed else ""
        yield Advice("model.source", base.source, f"{base.why}{here}")
    yield Advice("data.train", _relative(data, output), "as given; relative to this file")
    if heldout is not None:
        why = f"{heldout.name} lies beside the training rows: never trained on, for loss and task metrics"
        yield Advice("data.heldout", _relative(str(heldout), output), why)


def _command(data: str, kind: Kind, model: str | None) -> str:
    """What writes the same values again, whatever the rows' keys would say."""
    words = ["edgetune", "init", data, "--task", kind.task]
    for key, name in kind.columns.items():
        words += [f"--{key}-column", name] if key != name else []
    return shlex.join([*words, *(["--model", model] if model else [])])


def _relative(source: str, output: Path) -> str:
    path, split = locate(source)
    if source.startswith(("hub:", "pkg:")) or not path.exists():
        return source
    found = os.path.relpath(path.resolve(), output.resolve().parent)
    return found + (f"#{split}" if split else "")


def _name(data: str) -> str:
    """A recipe name from a path or id.

    >>> _name("rows/Bank FAQ.jsonl"), _name("hub:owner/Smol_Talk#train"), _name("???.csv")
    ('bank-faq', 'smol_talk', 'recipe')
    """
    hub = data.removeprefix("hub:").partition("#")[0].partition("@")[0]
    stem = Path(hub).name if data.startswith("hub:") else locate(data)[0].stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64] or "recipe"


def _lines(advice: Sequence[Advice], name: str, command: str) -> Iterator[str]:
    """The recipe as commented YAML."""
    yield f"# Written by: {command}"
    yield "# Every value says why it is what it is. All settings: edgetune recipe schema"
    yield f"name: {_value(name)}"
    for section, title in SECTIONS.items():
        inside = [item for item in advice if item.key.partition(".")[0] == section]
        if not inside:
            continue
        yield ""
        yield f"{section}: # {title}"
        indent, first = ("    ", "  - ") if section == "exports" else ("  ", "  ")
        for number, item in enumerate(inside):
            comment = f"{indent if number else '  '}# "
            yield from textwrap.wrap(item.why, 100, initial_indent=comment, subsequent_indent=comment)
            yield f"{indent if number else first}{item.key.partition('.')[2]}: {_value(item.value)}"


def _value(value: Any) -> str:
    """A value in YAML's JSON-like form; a bare word stays bare."""
    text = json.dumps(value, ensure_ascii=False)
    bare = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
    return str(value) if bare and yaml.safe_load(str(value)) == value else text
