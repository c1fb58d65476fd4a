"""The recipe as a whole, and which of its settings suit its task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, model_validator

from edgetune.recipe.inputs import DataSettings, ModelSettings, TaskSettings
from edgetune.recipe.outputs import BenchSettings, ExportSettings, VerifySettings
from edgetune.recipe.section import Section
from edgetune.recipe.training import MethodSettings, TrainSettings


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    """Short name: lower-case letters, digits, dot, dash, underscore. Names run folders and files."""
    description: str = ""
    """One line for people."""
    model: ModelSettings
    task: TaskSettings = TaskSettings()
    data: DataSettings = DataSettings()
    method: MethodSettings = MethodSettings()
    train: TrainSettings = TrainSettings()
    exports: tuple[ExportSettings, ...] = ()
    """Artifacts that `edgetune run` makes after training."""
    verify: VerifySettings = VerifySettings()
    bench: BenchSettings = BenchSettings()

    @model_validator(mode="after")
    def _settings_suit_the_task(self) -> Self:
        if problems := _unsuited(self):
            raise ValueError("; ".join(problems))
        return self


def _unsuited(recipe: Recipe) -> list[str]:
    """What a recipe sets that its kind of task has no use for, or not yet."""
    task, data, train, bench = recipe.task, recipe.data, recipe.train, recipe.bench
    if task.kind == "generation":
        return ["train.class_weights needs task.kind text-classification"] if train.class_weights != "none" else []
    wrong = {
        f"method.kind {recipe.method.kind} is for generation; a classifier takes lora, rslora, dora, full or freeze": (
            recipe.method.kind == "qlora"
        ),
        "task.system is for generation: a classifier reads the text alone": task.system is not None,
        "task.metrics are for generation: a classifier has its own": task.metrics != TaskSettings().metrics,
        f"data.format {data.format} has no classes: leave it out": data.format not in ("auto", "labelled"),
        "data.replay is for generation": data.replay is not None,
        "train.packing prefix is for generation": train.packing == "prefix",
        "bench.target and bench.slo are for generation": bench.target is not None or bench.slo is not None,
        "exports.imatrix is for gguf": any(export.imatrix for export in recipe.exports),
    }
    found = [text for text, is_wrong in wrong.items() if is_wrong]
    formats = sorted({export.format for export in recipe.exports} - {"onnx"})
    return [*found, *(f"exports.format {name} cannot hold a classifier: write onnx" for name in formats)]


def leaf_fields() -> Iterator[tuple[str, Any]]:
    """Dotted key and pydantic field of every setting that a flag can override."""
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield f"{name}.{inner}", inner_field
