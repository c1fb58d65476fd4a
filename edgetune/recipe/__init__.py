"""The recipe: one YAML file that says what to train, on what, how, and what to export.

Every name, type, default and help text lives here once; command-line flags,
the JSON Schema and the reference documentation are derived from this package.
"""

from edgetune.recipe.inputs import (
    DataSettings,
    ModelSettings,
    PrepareSettings,
    ReplaySettings,
    TaskKind,
    TaskSettings,
)
from edgetune.recipe.outputs import BenchSettings, ExportSettings, VerifySettings
from edgetune.recipe.reading import to_yaml, validate
from edgetune.recipe.recipe import Recipe, leaf_fields
from edgetune.recipe.resolving import Origin, Resolved, put_setting, resolve
from edgetune.recipe.section import Section
from edgetune.recipe.training import AugmentSettings, MethodSettings, TrainSettings

__all__ = [
    "AugmentSettings",
    "BenchSettings",
    "DataSettings",
    "ExportSettings",
    "MethodSettings",
    "ModelSettings",
    "Origin",
    "PrepareSettings",
    "Recipe",
    "ReplaySettings",
    "Resolved",
    "Section",
    "TaskKind",
    "TaskSettings",
    "TrainSettings",
    "VerifySettings",
    "leaf_fields",
    "put_setting",
    "resolve",
    "to_yaml",
    "validate",
]
