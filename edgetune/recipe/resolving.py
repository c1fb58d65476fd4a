"""A recipe file under the flags and environment variables laid over it; where each value came from is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgetune.recipe.reading import read_values, validate
from edgetune.recipe.recipe import Recipe

#: Where a resolved value came from, strongest first.
Origin = Literal["flag", "environment", "recipe", "default"]


@dataclass(frozen=True)
class Resolved:
    """A recipe after flags and environment were applied.

    Attributes:
        recipe: the validated recipe.
        origins: dotted key of every leaf (``train.learning_rate``) → where its value came from.
        path: the recipe file; relative paths in the recipe are relative to its folder.
    """

    recipe: Recipe
    origins: Mapping[str, Origin]
    path: Path

    def locate(self, path: str) -> Path:
        """A path as written in the recipe, relative to the recipe's folder."""
        return (self.path.parent / Path(path).expanduser()).resolve()


def resolve(path: Path, overrides: Mapping[str, tuple[Any, Origin]] | None = None) -> Resolved:
    """Read a recipe file and lay ``overrides`` (dotted key → value and origin) over it.

    Raises:
        RecipeError: the file cannot be read or parsed, or any key or value is wrong;
            all findings are in ``problems``.
    """
    values = read_values(path)
    origins: dict[str, Origin] = dict.fromkeys(_leaves(values), "recipe")
    for key, (value, origin) in (overrides or {}).items():
        put_setting(values, key, value)
        origins[key] = origin
    recipe = validate(values, str(path))
    every: dict[str, Origin] = dict.fromkeys(_leaves(recipe.model_dump(mode="json")), "default")
    return Resolved(recipe, every | {key: o for key, o in origins.items() if key in every}, path.resolve())


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def put_setting(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key (``train.seed``) of a recipe's plain values; a section that is not there is made."""
    *sections, leaf = key.split(".")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[leaf] = value
