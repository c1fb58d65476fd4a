"""The recipe as a whole, and which of its settings suit its task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, model_validator

from edgetune.recipe.inputs import DataSettings, ModelSettings, TaskSettings
from edgetune.recipe.outputs import BenchSettings, ExportSettings, VerifySettings
from edgetune.recipe.section import Section
from edgetune.recipe.training import AugmentSettings, MethodSettings, TrainSettings


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
    augment: AugmentSettings = AugmentSettings()
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
    found = [] if task.kind == "image-classification" else _of_images(recipe)
    if task.kind == "generation":
        needs = "train.class_weights needs task.kind text-classification or image-classification"
        return [*found, *([needs] if train.class_weights != "none" else [])]
    own = {"text-classification": "labelled", "image-classification": "images"}[task.kind]
    wrong = {
        f"method.kind {recipe.method.kind} is for generation; a classifier takes lora, rslora, dora, full or freeze": (
            recipe.method.kind == "qlora"
        ),
        "task.system is for generation: a classifier reads what is to be classified alone": task.system is not None,
        "task.metrics are for generation: a classifier has its own": task.metrics != TaskSettings().metrics,
        f"data.format {data.format} is not for {task.kind}: leave it out": data.format not in ("auto", own),
        "data.replay is for generation": data.replay is not None,
        "train.packing prefix is for generation": train.packing == "prefix",
        "bench.target and bench.slo are for generation": bench.target is not None or bench.slo is not None,
        "exports.imatrix is for gguf": any(export.imatrix for export in recipe.exports),
    }
    found += [text for text, is_wrong in wrong.items() if is_wrong]
    formats = sorted({export.format for export in recipe.exports} - {"onnx"})
    return [*found, *(f"exports.format {name} cannot hold a classifier: write onnx" for name in formats)]


def _of_images(recipe: Recipe) -> list[str]:
    """What a recipe for another task sets that only images have."""
    wrong = {
        "data.image_size is for image-classification": recipe.data.image_size is not None,
        "augment is for image-classification": recipe.augment != AugmentSettings(),
        "data.format images needs task.kind image-classification": recipe.data.format == "images",
    }
    return [text for text, is_wrong in wrong.items() if is_wrong]


def leaf_fields() -> Iterator[tuple[str, Any]]:
    """Dotted key and pydantic field of every setting that a flag can override."""
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield f"{name}.{inner}", inner_field
