"""What differs between the tasks in training: how rows are encoded, what is loaded, what a step computes.

All else (methods, optimiser, checkpoints, records, resuming) is the same for every task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edgetune.errors import RecipeError
from edgetune.recipe import Recipe, TaskKind
from edgetune.run import Run
from edgetune.training.batches import Collate, Loss
from edgetune.training.devices import Choice

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Longest row where neither the recipe nor the model says less.
LONGEST_ROW = 2048


@dataclass(frozen=True)
class Rows:
    """What is trained on and what chooses the checkpoint, encoded; ``pad_id`` fills short rows up.

    Attributes:
        train: rows to train on: what the lesson's own ``step`` makes batches of.
        evaluation: rows that choose the checkpoint.
        pad_id: a token; of images nothing.
        weights: of a classifier: how much each class counts; empty: all alike.
    """

    train: Sequence[Any]
    evaluation: Sequence[Any]
    pad_id: int = 0
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A base, ready for a method.

    Attributes:
        model: on its device.
        packing: how rows become batches.
        autocast: compute in bfloat16 over weights in float32.
        head: modules that the base lacks.
    """

    model: PreTrainedModel
    packing: Choice
    autocast: bool
    head: tuple[str, ...] = ()


class Lesson(Protocol):
    """How one kind of task is learnt."""

    def encode(self, run: Run, recipe: Recipe) -> Rows:
        """The run's rows as they are learnt: as token ids, or where images lie.

        Raises:
            RecipeError: rows longer than the model's context are asked for.
            DataError: rows that cannot be encoded.
        """
        ...

    def load(self, run: Run, recipe: Recipe, dtype: str, device: str) -> Loaded:
        """The run's base.

        Raises:
            ModelError: it cannot be loaded.
            RecipeError: it cannot train as asked.
        """
        ...

    def step(self, run: Run, recipe: Recipe, rows: Rows, packing: str) -> tuple[Collate, Loss | None]:
        """What makes a batch of rows, and the loss of one; None: that of answer tokens."""
        ...


def lesson_of(recipe: Recipe) -> Lesson:
    """The lesson for a recipe's kind of task."""
    from edgetune.training.classification import ClassificationLesson
    from edgetune.training.generation import GenerationLesson
    from edgetune.training.image_classification import ImageLesson

    lessons: Mapping[TaskKind, Lesson] = {
        "generation": GenerationLesson(),
        "text-classification": ClassificationLesson(),
        "image-classification": ImageLesson(),
    }
    return lessons[recipe.task.kind]


def encode_run(run: Run, recipe: Recipe) -> Rows:
    """The run's rows as they are learnt. Errors: as in :class:`Lesson`."""
    return lesson_of(recipe).encode(run, recipe)


def longest_row(wanted: int | None, context: int) -> int:
    """Longest row in tokens.

    Raises:
        RecipeError: more are wanted than the model can read.
    """
    longest = wanted or min(context, LONGEST_ROW)
    if longest > context:
        raise RecipeError(
            f"data.max_tokens is {longest}, but the model's context has {context} tokens",
            hint=f"--data-max-tokens {context}",
        )
    return longest
