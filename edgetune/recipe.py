"""The recipe: one YAML file that says what to train, on what, how, and what to export.

Every name, type, default and help text lives here once; command-line flags,
the JSON Schema and the reference documentation are derived from this module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgetune.errors import RecipeError
from edgetune.yamlfile import read_yaml

#: Where a resolved value came from, strongest first.
Origin = Literal["flag", "environment", "recipe", "default"]

#: What a model can be tuned to do.
TaskKind = Literal["generation", "text-classification"]

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]

#: Marks a text that may be a path: relative to the recipe's folder, or on the command line to the current one.
_MAY_BE_PATH: dict[str, Any] = {"format": "path"}


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values are frozen, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ModelSettings(Section):
    """The base model."""

    source: str = Field(json_schema_extra=_MAY_BE_PATH)
    """A hub id, a local folder, a .gguf file, or pkg:PACKAGE/FILE for weights inside an installed package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    trust_remote_code: bool = False
    """Run Python code that the model repository brings. Off unless you read that code."""
    chat_template: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """A Jinja file that replaces the model's own chat template."""


class TaskSettings(Section):
    """What the model shall do, and how that is judged."""

    kind: TaskKind = "generation"
    """What the model produces: text that answers, or (text-classification) one class of those in the training rows."""
    system: str | None = None
    """System prompt put before conversations that have none, in training, evaluation and the exported file."""
    max_new_tokens: Positive = 128
    """Longest answer when generating, in tokens."""
    metrics: tuple[Literal["exact_match", "json", "rouge_l", "chrf"], ...] = ("exact_match",)
    """How answers are scored against the reference, besides held-out loss."""


class PrepareSettings(Section):
    """A script that makes the data files before the first run."""

    script: str
    """Python file beside the recipe. It is called with --output FOLDER and writes train.jsonl and heldout.jsonl there,
    and validation.jsonl if it likes. Scripts shipped with edgetune run as they are; any other needs --allow-scripts."""
    arguments: tuple[str, ...] = ()
    """Further arguments for the script."""


class ReplaySettings(Section):
    """General rows mixed in, so that the model forgets less of what it could do before."""

    source: str = Field(json_schema_extra=_MAY_BE_PATH)
    """Rows that are not of the task: conversations or plain text, in any format that data.train takes."""
    share: float = Field(default=0.1, gt=0, le=10)
    """So many of them for each training row: 0.1 adds one to ten. Chosen by seed; each at most once."""


class DataSettings(Section):
    """The examples."""

    train: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """Training rows: a .jsonl, .json, .csv, .parquet or .txt file, a datasets folder, or hub:ID for a hub data set."""
    heldout: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """Rows never trained on, for loss and task metrics. Without it, heldout_share of the training rows is held out."""
    validation: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """Rows that choose the checkpoint and stop training early. Without it, held-out rows do."""
    prepare: PrepareSettings | None = None
    """A script that makes the files."""
    replay: ReplaySettings | None = None
    """General rows to mix with the training rows, against forgetting."""
    heldout_share: Share = 0.1
    """Share of the training rows to hold out when there is no heldout file."""
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion", "text", "labelled"] = "auto"
    """How a row is laid out; auto looks at the keys and says why. Rows to classify are labelled ones."""
    text_column: str = "text"
    """labelled: the key or column that holds the text."""
    label_column: str = "label"
    """labelled: the key or column that holds the name of its class."""
    max_tokens: Positive | None = None
    """Longest row in tokens; default: the model's context, at most 2048."""
    too_long: Literal["drop", "truncate", "error"] = "drop"
    """What happens to longer rows."""
    train_limit: Positive | None = None
    """Use at most this many training rows, chosen by seed."""
    heldout_limit: Positive | None = None
    """Use at most this many held-out rows for task metrics, chosen by seed."""

    @model_validator(mode="after")
    def _something_is_held_out(self) -> Self:
        if self.heldout_share == 0 and self.heldout is None and self.prepare is None:
            raise ValueError("heldout_share of 0 holds nothing out, so nothing could be measured; give data.heldout")
        return self


class MethodSettings(Section):
    """How the model is adapted."""

    kind: Literal["lora", "qlora", "dora", "rslora", "full", "freeze"] = "lora"
    """lora, qlora (LoRA over an NF4 base), dora, rslora, full, or freeze (train only some layers)."""
    rank: Positive = 16
    """Rank of the adapter."""
    alpha: float | None = Field(default=None, gt=0)
    """LoRA alpha; default: twice the rank."""
    dropout: Share = 0.0
    """Dropout on the adapter's input."""
    target_modules: Literal["auto"] | tuple[str, ...] = "auto"
    """Modules that get an adapter; auto: every linear layer but the head."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained whole beside the adapter, such as lm_head."""
    base_storage: Literal["auto", "4bit", "dequantised"] = "auto"
    """qlora: hold the NF4 base packed (least memory) or dequantised once (faster, same numbers); auto: by memory."""
    train_last_layers: Positive | None = None
    """freeze: train only the last N layers and what comes after them (the final norm, a classifier's head)."""
    train_patterns: tuple[str, ...] = ()
    """freeze: train only parameters whose name matches one of these regular expressions."""
    train_head_only: bool = False
    """freeze: train only the output head (and the final norm of a generating model)."""

    @field_validator("train_patterns")
    @classmethod
    def _patterns_are_regular_expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"method.train_patterns: '{pattern}' is no regular expression: {error}") from error
        return patterns

    @model_validator(mode="after")
    def _freeze_says_what_trains(self) -> Self:
        chosen = [self.train_last_layers is not None, bool(self.train_patterns), self.train_head_only]
        if self.kind == "freeze" and sum(chosen) != 1:
            raise ValueError(
                "method.kind freeze needs exactly one of train_last_layers, train_patterns, train_head_only"
            )
        if self.kind != "freeze" and any(chosen):
            raise ValueError(f"train_last_layers, train_patterns and train_head_only need kind freeze, not {self.kind}")
        return self

    @property
    def effective_alpha(self) -> float:
        """Alpha with its default filled in."""
        return self.alpha if self.alpha is not None else 2.0 * self.rank

    @property
    def is_adapter(self) -> bool:
        """Whether the method trains an adapter rather than the model's own weights."""
        return self.kind in ("lora", "qlora", "dora", "rslora")


class TrainSettings(Section):
    """The optimisation."""

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Peak learning rate; default: 2e-4 for adapters, 2e-5 for full and freeze."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows."""
    max_steps: Positive | None = None
    """Stop after this many optimiser steps, whatever epochs says."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Stop after this long; the learning rate decays in time for it."""
    batch_size: Positive = 16
    """Rows in one optimiser step, over all processes."""
    micro_batch_size: Positive | None = None
    """Rows in one forward pass of one process; default: batch_size split over the processes. Smaller saves memory."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after warm-up."""
    warmup_share: Share = 0.03
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay."""
    class_weights: Literal["none", "balanced"] = "none"
    """text-classification: balanced makes rare classes count as much as frequent ones."""
    adam_beta2: float = Field(default=0.999, gt=0, lt=1)
    """AdamW's memory of squared gradients; 0.99 adapts faster in runs of a few hundred steps."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    seed: int = Field(default=17, ge=0)
    """Seed of everything random: split, order, initial adapter."""
    device: Literal["auto", "cuda", "mps", "xpu", "cpu"] = "auto"
    """Where to train; auto takes the fastest present and says why."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type; auto: bfloat16 where the hardware multiplies it natively."""
    packing: Literal["auto", "prefix", "off"] = "auto"
    """prefix: the rows of a batch become one sequence without padding, and what they begin with in common is computed
    once; off: one padded row each. auto: prefix where the model allows it."""
    evaluate_every: Positive | None = None
    """Steps between evaluations on validation rows; default: ten times a run."""
    evaluate_rows: Positive = 200
    """Validation (or held-out) rows behind each evaluation while training, chosen by seed; edgetune eval takes all
    held-out ones."""
    save_every: Positive | None = None
    """Steps between checkpoints; default: with each evaluation."""
    keep_checkpoints: Positive = 2
    """Checkpoints kept besides the best one."""
    early_stopping: Positive | None = None
    """Stop after this many evaluations without a better loss on validation (or held-out) rows."""
    log_every: Positive = 10
    """Steps between lines in metrics.jsonl."""
    tensorboard: bool = False
    """Also write TensorBoard logs (needs the tensorboard extra)."""


class ExportSettings(Section):
    """One exporter and what it shall write."""

    format: str = "gguf"
    """Exporter: one of those that `edgetune doctor` lists. Classifiers are exported as onnx."""
    quant: tuple[str, ...] = ()
    """Precisions, one artifact each; default: eight bits, as the format calls them (`q8_0`, `int8`)."""
    imatrix: bool = False
    """gguf: weigh rounding errors by how strongly the trained model uses each input (llama.cpp's imatrix)."""


class VerifySettings(Section):
    """What an artifact must reach to count as the trained model. Limits left out depend on the precision."""

    rows: Positive = 64
    """Held-out rows on which next-token distributions and prompts are compared, chosen by seed."""
    max_kl: float | None = Field(default=None, ge=0)
    """Largest mean KL divergence from the trained model, in nats a position."""
    min_top1: float | None = Field(default=None, ge=0, le=1)
    """Smallest share of positions at which the likeliest token is the trained model's, of those where that has a clear
    favourite (half a nat or more ahead)."""
    min_retention: float | None = Field(default=None, ge=0)
    """Smallest share of the task metric's gain over the base that the artifact keeps."""


class BenchSettings(Section):
    """How artifacts are timed."""

    prompts: Positive = 20
    """Held-out prompts to time."""
    threads: Positive | None = None
    """Threads of the runtime; default: the physical cores this process may use."""
    target: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """Hold artifacts to this target's objectives: a name that `edgetune targets list` shows, or a YAML file."""
    slo: str | None = Field(default=None, json_schema_extra=_MAY_BE_PATH)
    """Hold artifacts to the objectives in this YAML file, besides those of the target."""


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
    values = _read_yaml(path)
    origins: dict[str, Origin] = dict.fromkeys(_leaves(values), "recipe")
    for key, (value, origin) in (overrides or {}).items():
        _put(values, key, value)
        origins[key] = origin
    recipe = validate(values, str(path))
    every: dict[str, Origin] = dict.fromkeys(_leaves(recipe.model_dump(mode="json")), "default")
    return Resolved(recipe, every | {key: o for key, o in origins.items() if key in every}, path.resolve())


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


def _read_yaml(path: Path) -> dict[str, Any]:
    loaded = read_yaml(path, "recipe", RecipeError, hint="edgetune recipes list shows those that come with edgetune")
    if not isinstance(loaded, dict):
        raise RecipeError(
            f"{path} holds no recipe: expected keys such as 'name' and 'model'", hint="edgetune init DATA writes one"
        )
    return loaded


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


def leaf_fields() -> Iterator[tuple[str, Any]]:
    """Dotted key and pydantic field of every setting that a flag can override."""
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield f"{name}.{inner}", inner_field


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[leaf] = value
