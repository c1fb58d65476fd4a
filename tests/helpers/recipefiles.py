"""Recipes for tests that train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edgetune.recipe import Resolved, resolve

#: So that a step is a moment, and the same wherever it runs.
SMALL = {"device": "cpu", "dtype": "float32", "learning_rate": 0.01}


def tiny_recipe(folder: Path, base: Path, own: Mapping[str, Any], changes: Mapping[str, Any]) -> Resolved:
    """A recipe for a model folder over ``train.jsonl`` and ``heldout.jsonl`` beside it.

    Args:
        folder: of the recipe; its rows are there.
        base: the model.
        own: sections of it; ``train`` is added to :data:`SMALL`.
        changes: sections changed key by key; what is no section is replaced.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"source": str(base)},
        "data": {"train": "train.jsonl", "heldout": "heldout.jsonl"},
        "method": {"rank": 4},
        "train": SMALL,
    }
    for section, given in [*own.items(), *changes.items()]:
        values[section] = values.get(section, {}) | given if isinstance(given, Mapping) else given
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return resolve(path)
