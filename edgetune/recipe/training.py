"""How the model is trained: what is adapted, and the optimisation."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from edgetune.recipe.section import Positive, Section, Share


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
    """Modules that get an adapter; auto: every linear layer but the head, and of image models every convolution that
    mixes channels."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained whole beside the adapter, such as lm_head."""
    base_storage: Literal["auto", "4bit", "dequantised"] = "auto"
    """qlora: hold the NF4 base packed (least memory) or dequantised once (faster, same numbers); auto: by memory."""
    train_last_layers: Positive | None = None
    """freeze: train only the last N layers (of a ResNet or ConvNeXT: stages) and what comes after them (the final norm,
    a classifier's head)."""
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


class AugmentSettings(Section):
    """Changes to training images, drawn anew for each pass; held-out ones stay as they are. Off unless set."""

    shift: float = Field(default=0.0, ge=0, le=0.5)
    """Moved by up to this share of width and height; the edge is repeated."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Turned by up to so many degrees, either way."""
    zoom: float = Field(default=0.0, ge=0, le=0.5)
    """Scaled by a factor between 1 - zoom and 1 + zoom."""
    flip: bool = False
    """Mirrored left to right, every second time. Not for letters and digits."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    """Brightness times a factor between 1 - brightness and 1 + brightness."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Distance from the mean grey times a factor between 1 - contrast and 1 + contrast."""


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
    """Classification: balanced makes rare classes count as much as frequent ones."""
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
    """Steps between evaluations on validation rows; default: ten times a run; with max_minutes ten times a pass over
    the rows, if that is more often, and ten steps apart at least."""
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
