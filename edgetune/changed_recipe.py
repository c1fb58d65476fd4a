"""A recipe with some settings changed, as a new file that says why."""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

from edgetune import files
from edgetune.data.advice import Advice
from edgetune.data.reading import locate
from edgetune.errors import RecipeError
from edgetune.recipe import Recipe, Resolved, Section, put_setting, validate

_WIDTH = 118
#: The one path that no flag can give.
_SCRIPT = "data.prepare.script"


def require_free(output: Path | None, *, force: bool) -> None:
    """Fail before work starts where the new recipe would replace a file.

    Raises:
        RecipeError: it would, and ``force`` is not set.
    """
    if output is not None and output.exists() and not force:
        raise RecipeError(f"{output} exists", hint="choose another --output, or replace it with --force")


def write_changed(resolved: Resolved, changes: Sequence[Advice], output: Path, *, written_by: str) -> None:
    """Write what a recipe sets, and the changes with their reasons.

    Args:
        resolved: the recipe, with what flags and variables set of it. Its paths are written relative to ``output``.
        changes: to make.
        output: the file; replaced where it exists.
        written_by: the command, for the first line.

    Raises:
        RecipeError: the changes do not suit the recipe.
    """
    values = resolved.recipe.model_dump(mode="json", exclude_unset=True)
    for key in [*_path_keys(Recipe), _SCRIPT]:
        _relocate(values, key, resolved, output)
    for change in changes:
        put_setting(values, change.key, list(change.value) if isinstance(change.value, tuple) else change.value)
    validate(values, f"{resolved.path} with {', '.join(change.key for change in changes)}")
    text = "\n".join([f"# Written by: {written_by}", *_reasons(changes)]) + "\n"
    text += yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=_WIDTH)
    files.write_text(output, text)


def _reasons(changes: Sequence[Advice]) -> Iterator[str]:
    for change in changes:
        yield from textwrap.wrap(
            f"{change.key}: {change.why}", _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False
        )


def _path_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a recipe's settings that may be paths."""
    for name, field in section.model_fields.items():
        for part in get_args(field.annotation) or (field.annotation,):
            if isinstance(part, type) and issubclass(part, Section):
                yield from _path_keys(part, f"{prefix}{name}.")
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("format") == "path":
            yield prefix + name


def _relocate(values: dict[str, Any], key: str, resolved: Resolved, output: Path) -> None:
    *sections, leaf = key.split(".")
    inner: dict[str, Any] = functools.reduce(lambda found, name: found.get(name) or {}, sections, values)
    if not inner.get(leaf):
        return
    path, split = locate(str(resolved.locate(inner[leaf])))
    if not inner[leaf].startswith(("hub:", "pkg:")) and path.exists():
        inner[leaf] = os.path.relpath(path, output.resolve().parent) + (f"#{split}" if split else "")
