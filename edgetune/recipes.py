"""The recipes that come with edgetune: a folder each in the package ``edgetune_recipes``."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edgetune import files
from edgetune.data.reading import locate
from edgetune.errors import ExportError, RecipeError
from edgetune.exporters import exporter_names, find_exporter, used_importance
from edgetune.models.base import missing_source
from edgetune.recipe import ExportSettings, Recipe, Resolved, resolve

RECIPE_FILE = "recipe.yaml"
_LIST_HINT = "edgetune recipes list"


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with edgetune. Its name is its folder's."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def file(self) -> Path:
        return self.folder / RECIPE_FILE

    def read(self) -> Recipe:
        """The recipe itself.

        Raises:
            RecipeError: it is invalid.
        """
        return resolve(self.file).recipe


def shipped_recipes() -> list[ShippedRecipe]:
    """All of them, by name."""
    root = Path(str(resources.files("edgetune_recipes")))
    return [ShippedRecipe(file.parent) for file in sorted(root.glob(f"*/{RECIPE_FILE}"))]


def shipped_recipe(name: str) -> ShippedRecipe:
    """The one called ``name``.

    Raises:
        RecipeError: there is none; the nearest name is offered.
    """
    by_name = {recipe.name: recipe for recipe in shipped_recipes()}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        raise RecipeError(f"no recipe called '{name}' comes with edgetune{guess}", hint=_LIST_HINT)
    return by_name[name]


def find_recipe(name: str) -> Path:
    """The recipe file that ``name`` means: a path, or else the name of a shipped recipe.

    Raises:
        RecipeError: neither.
    """
    path = Path(name).expanduser()
    if path.is_dir() and (path / RECIPE_FILE).is_file():
        return path / RECIPE_FILE
    looks_like_a_path = path.name != name or path.suffix in (".yaml", ".yml")
    return path if path.is_file() or looks_like_a_path else shipped_recipe(name).file


def copy_recipe(name: str, destination: Path | None = None) -> Path:
    """Copy a shipped recipe's folder, to change it there.

    Args:
        name: of the shipped recipe.
        destination: the new folder; default: the recipe's name, here.

    Raises:
        RecipeError: no such recipe, or the destination is in use.
    """
    recipe = shipped_recipe(name)
    target = destination or Path(recipe.name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(f"{target} is in use already", hint=f"edgetune recipes copy {name} ANOTHER-FOLDER")
    with files.atomic_path(target) as temporary:
        shutil.copytree(recipe.folder, temporary, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return target


def check_recipe(path: Path) -> Recipe:
    """Read a recipe and look for what it names: files, scripts, exporters, precisions.

    Raises:
        RecipeError: with every problem.
    """
    resolved = resolve(path)
    problems = [*_missing_files(resolved)]
    for index, export in enumerate(resolved.recipe.exports):
        problems += (f"exports.{index}.{problem}" for problem in _export_problems(export))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise RecipeError(f"{path} cannot be run: {count}", hint=f"change {path}", problems=problems)
    return resolved.recipe


def _missing_files(resolved: Resolved) -> Iterator[str]:
    data, model = resolved.recipe.data, resolved.recipe.model
    named = {
        "model.chat_template": model.chat_template,
        "data.prepare.script": data.prepare.script if data.prepare else None,
        "data.train": data.train,
        "data.validation": data.validation,
        "data.heldout": data.heldout,
        "data.replay.source": data.replay.source if data.replay else None,
    }
    if data.train is None and data.prepare is None:
        yield "data.train: required, unless data.prepare makes the rows"
    if missing := missing_source(model.source.strip(), resolved.path.parent):
        yield f"model.source: {missing}"
    for key, value in named.items():
        if value is not None and not value.startswith("hub:") and not locate(str(resolved.locate(value)))[0].exists():
            yield f"{key}: no such file: {resolved.locate(value)}"


def _export_problems(export: ExportSettings) -> Iterator[str]:
    if export.format not in exporter_names():
        yield f"format: no exporter for '{export.format}'; installed: {', '.join(exporter_names())}"
        return
    exporter = find_exporter(export.format)
    unknown = False
    for quant in export.quant:
        try:
            exporter.precision(quant)
        except ExportError as error:
            unknown = True
            yield f"quant: {error.message}; it has {', '.join(exporter.precisions)}"
    if unknown:
        return
    quants = export.quant or (exporter.default_precision,)
    if export.imatrix and used_importance(export.format, quants) is None:
        yield f"imatrix: {', '.join(quants)} of {export.format} has no use for it: leave it out"
