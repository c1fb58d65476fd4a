"""Measure general ability of one subject, or take what is stored of it."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgetune import __version__, console
from edgetune.errors import DataError, ModelError
from edgetune.evaluation.evaluate import Subject
from edgetune.evaluation.rows import choose_rows
from edgetune.evaluation.subjects import Opening, opened
from edgetune.general.figures import part, with_scores
from edgetune.general.items import Item, Task
from edgetune.general.likelihood import likelihoods
from edgetune.general.passages import Passage, Passages
from edgetune.general.record import TEXT, Choice, GeneralBasis, GeneralEvaluation, Read, load_if_covers, store
from edgetune.general.trees import Tree, grow


@dataclass(frozen=True)
class Material:
    """What is asked.

    Attributes:
        tasks: questions.
        text: plain text.
        limit: at most so many questions of each task; None: all.
        passages: at most so many of the text.
        seed: of that choice; a smaller limit takes a part of a larger one's.
    """

    tasks: tuple[Task, ...]
    text: Passages
    limit: int | None
    passages: int
    seed: int

    def basis(self, opening: Opening) -> GeneralBasis:
        """What figures of a subject would rest on."""
        rows = {task.name: choose_rows(len(task.items), self.limit, self.seed) for task in self.tasks}
        text = choose_rows(len(self.text.passages), self.passages, self.seed)
        return GeneralBasis(
            weights_sha256=opening.weights_sha256,
            data_sha256={**{task.name: task.sha256 for task in self.tasks}, TEXT: self.text.sha256},
            rows={**rows, TEXT: text},
            metrics={task.name: task.metric for task in self.tasks},
            runtime=opening.runtime,
            edgetune=__version__,
        )


def measure(
    opening: Opening, material: Material, stored: Path | None = None, *, again: bool = False
) -> GeneralEvaluation:
    """Measure, unless what is stored rests on the same weights, questions and text.

    Args:
        opening: what to evaluate.
        material: questions and text.
        stored: where the result is kept; None: nowhere.
        again: do not look at what is stored.

    Raises:
        DataError: questions that do not fit the model.
        ModelError: a log-likelihood is not finite.
    """
    basis = material.basis(opening)
    if stored and not again and (known := load_if_covers(stored, basis)):
        return known if known.basis == basis else part(known, basis)
    with opened(opening) as subject:
        found = _measure(subject, material, basis)
    if stored:
        store(stored, found)
    return found


def _measure(subject: Subject, material: Material, basis: GeneralBasis) -> GeneralEvaluation:
    asked = [(task.name, task.items[row]) for task in material.tasks for row in basis.rows[task.name]]
    texts = [material.text.passages[row] for row in basis.rows[TEXT]]
    trees = _trees(subject, asked, texts)
    start = time.monotonic()
    with console.progress(f"General ability of {subject.name}", total=sum(t.size for t in trees), unit="tokens") as bar:
        sizes = [tree.size for tree in trees]
        found = likelihoods(subject, trees, lambda done: bar.update(sum(sizes[:done])))
    if not all(math.isfinite(value) for values in found for value in values):
        raise ModelError(
            f"log-likelihoods of '{subject.name}' are not finite: its weights are damaged or overflow",
            hint="train again with a lower --learning-rate, or export again",
        )
    return with_scores(
        GeneralEvaluation(
            subject=subject.name,
            basis=basis,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - start, 3),
            notes=(*subject.notes, f"plain text: {len(texts)} passages of {material.text.name}"),
            scores=(),
            choices=tuple(_choice(*one) for one in zip(asked, found[: len(asked)], strict=True)),
            passages=tuple(_read(*one) for one in zip(texts, found[len(asked) :], strict=True)),
        )
    )


def _trees(subject: Subject, asked: list[tuple[str, Item]], texts: list[Passage]) -> list[Tree]:
    """Everything as token ids.

    Raises:
        DataError: something does not fit the model.
    """
    tokenizer = subject.runtime.tokenizer
    trees = [
        grow(f"{task}, item {item.row + 1}", item.context, [f" {choice}" for choice in item.choices], tokenizer)
        for task, item in asked
    ]
    trees += [grow(f"passage {text.row + 1}", text.opening, [text.rest], tokenizer) for text in texts]
    room = subject.runtime.context_length
    if too_long := [tree.depth for tree in trees if tree.depth > room]:
        raise DataError(
            f"{len(too_long)} of {len(trees)} questions or passages are longer than the context of {room} tokens",
            hint="shorten them; the longest has " + str(max(too_long)),
        )
    return trees


def _choice(asked: tuple[str, Item], found: list[float]) -> Choice:
    task, item = asked
    lengths = tuple(len(choice) for choice in item.choices)
    return Choice(task=task, row=item.row, log_likelihoods=tuple(found), characters=lengths, answer=item.answer)


def _read(passage: Passage, found: list[float]) -> Read:
    words = len(re.findall(r"\S+", passage.rest))
    return Read(row=passage.row, log_likelihood=found[0], bytes=len(passage.rest.encode()), words=words)
