"""What goes in: the base model, the task and the examples."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from edgetune.recipe.section import MAY_BE_PATH, Positive, Section, Share

#: What a model can be tuned to do.
TaskKind = Literal["generation", "text-classification", "image-classification"]
#: What each counts in training.
UNITS: dict[TaskKind, str] = {"generation": "token", "text-classification": "text", "image-classification": "image"}


class ModelSettings(Section):
    """The base model."""

    source: str = Field(json_schema_extra=MAY_BE_PATH)
    """A hub id, a local folder, a .gguf file, torchvision's MobileNetV2 as .pth, or pkg:PACKAGE/FILE for weights inside
    an installed package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    trust_remote_code: bool = False
    """Run Python code that the model repository brings. Off unless you read that code."""
    chat_template: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """A Jinja file that replaces the model's own chat template."""


class TaskSettings(Section):
    """What the model shall do, and how that is judged."""

    kind: TaskKind = "generation"
    """What the model produces: text that answers, or (text-classification, image-classification) one class of those in
    the training rows."""
    system: str | None = None
    """System prompt put before conversations that have none, in training, evaluation and the exported file."""
    max_new_tokens: Positive = 128
    """Longest answer when generating, in tokens."""
    metrics: tuple[Literal["exact_match", "json", "rouge_l", "chrf"], ...] = ("exact_match",)
    """How answers are scored against the reference, besides held-out loss. The first one judges artifacts."""

    @property
    def unit(self) -> str:
        """What the mean of a training's loss is over, and what its speed counts."""
        return UNITS[self.kind]

    @property
    def speed_key(self) -> str:
        """Under which metrics.jsonl and the manifest keep those units a second."""
        return "tokens_per_s" if self.unit == "token" else "rows_per_s"


class PrepareSettings(Section):
    """A script that makes the data files before the first run."""

    script: str
    """Python file beside the recipe. It is called with --output FOLDER and writes train.jsonl and heldout.jsonl there,
    and validation.jsonl if it likes. Scripts shipped with edgetune run as they are; any other needs --allow-scripts."""
    arguments: tuple[str, ...] = ()
    """Further arguments for the script."""


class ReplaySettings(Section):
    """General rows mixed in, so that the model forgets less of what it could do before."""

    source: str = Field(json_schema_extra=MAY_BE_PATH)
    """Rows that are not of the task: conversations or plain text, in any format that data.train takes."""
    share: float = Field(default=0.1, gt=0, le=10)
    """So many of them for each training row: 0.1 adds one to ten. Chosen by seed; each at most once."""


class DataSettings(Section):
    """The examples."""

    train: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """Training rows: a .jsonl, .json, .csv, .parquet or .txt file, a datasets folder, or hub:ID for a hub data set; of
    images also a folder that holds a folder of them for each class."""
    heldout: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """Rows never trained on, for loss and task metrics. Without it, heldout_share of the training rows is held out."""
    validation: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """Rows that choose the checkpoint and stop training early. Without it, held-out rows do."""
    prepare: PrepareSettings | None = None
    """A script that makes the files."""
    replay: ReplaySettings | None = None
    """General rows to mix with the training rows, against forgetting."""
    heldout_share: Share = 0.1
    """Share of the training rows to hold out when there is no heldout file."""
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion", "text", "labelled", "images"] = (
        "auto"
    )
    """How a row is laid out; auto looks at the keys and says why. Rows to classify are labelled ones, or images."""
    text_column: str = "text"
    """labelled: the key or column that holds the text."""
    image_column: str = "image"
    """images: the key or column that holds the image's path, relative to the file that names it, or the image."""
    label_column: str = "label"
    """labelled, images: the key or column that holds the name of its class."""
    image_size: int | None = Field(default=None, ge=16, le=2048)
    """images: height and width that they get for the model, in pixels; default: as its preprocessor_config.json says.
    Half the size takes about a quarter of the time."""
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
