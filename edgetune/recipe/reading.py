"""A recipe from YAML and back; what is wrong with one is said for every key at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from edgetune.errors import RecipeError
from edgetune.recipe.recipe import Recipe, leaf_fields
from edgetune.yamlfile import read_yaml


def read_values(path: Path) -> dict[str, Any]:
    """The keys and values in a recipe file, as they stand there.

    Raises:
        RecipeError: the file cannot be read or parsed, or holds no keys.
    """
    loaded = read_yaml(path, "recipe", RecipeError, hint="edgetune recipes list shows those that come with edgetune")
    if not isinstance(loaded, dict):
        raise RecipeError(
            f"{path} holds no recipe: expected keys such as 'name' and 'model'", hint="edgetune init DATA writes one"
        )
    return loaded


def validate(values: Mapping[str, Any], where: str) -> Recipe:
    """Turn plain values into a :class:`Recipe`.

    Raises:
        RecipeError: with one problem for each wrong key or value.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [_explain(finding) for finding in error.errors()]
        raise RecipeError(
            f"{where} is not a valid recipe: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            hint="every key and what it means: edgetune recipe schema",
            problems=problems,
        ) from error


def to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML with every value written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _explain(finding: Any) -> str:
    key = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(finding['loc'])}"
    if finding["type"] == "missing":
        return f"{key}: required, but missing"
    message = finding["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {finding['input']!r})" if key and finding["type"] != "value_error" else message


def _nearest(location: tuple[str | int, ...]) -> str:
    """``; did you mean 'learning_rate'?`` for an unknown key, looking through all sections, its own first."""
    known = [key for key, _ in leaf_fields()] + list(Recipe.model_fields)
    known.sort(key=lambda key: key.split(".")[:-1] != list(location[:-1]))
    by_name: dict[str, str] = {}
    for key in known:
        by_name.setdefault(key.rsplit(".", 1)[-1], key)
    match = difflib.get_close_matches(str(location[-1]), by_name, n=1, cutoff=0.6)
    return f"; did you mean '{by_name[match[0]]}'?" if match else ""
