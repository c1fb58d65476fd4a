"""Evaluate one runtime on chosen rows: held-out loss, task metrics, and every answer kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from edgetune.console import Bar, progress
from edgetune.data.conversation import Conversation
from edgetune.errors import DataError, ModelError
from edgetune.evaluation.figures import scores_of
from edgetune.evaluation.intervals import Ratio, count_groups
from edgetune.evaluation.loss import Labelled, Progress, runtime_losses
from edgetune.evaluation.metrics import Metric, chosen, final, is_exact
from edgetune.evaluation.questions import Question, ask
from edgetune.evaluation.record import Answer, Basis, Evaluation
from edgetune.runtimes.protocol import Completion, Decoding, Runtime

#: (token rows, progress) → (Σ -ln p, answer tokens) of each.
Losses = Callable[[Sequence[Labelled], Progress | None], list[Ratio]]


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Attributes:
        name: for people and for the stored file.
        runtime: open; prompts go through its own template and tokenizer.
        losses: computes the loss; None: from ``runtime.logits``. A torch model has a batched way.
        notes: choices to store with the result.
    """

    name: str
    runtime: Runtime
    losses: Losses | None = None
    notes: tuple[str, ...] = ()


def evaluate(subject: Subject, conversations: Sequence[Conversation], basis: Basis) -> Evaluation:
    """Ask every chosen row and score the answers.

    Args:
        subject: what to evaluate.
        conversations: all rows of the file.
        basis: which rows, metrics and settings; stored with the result.

    Raises:
        DataError: no rows, rows that do not fit the model, or references that a metric cannot use.
        ModelError: the loss is not finite.
        MissingExtra: a metric's library is not installed.
    """
    runtime, metrics = subject.runtime, chosen(basis.metrics)
    if not basis.rows:
        raise DataError("nothing to evaluate: no rows", hint="give a data file with at least one answer: --data FILE")
    rows = [conversations[row] for row in basis.rows]
    questions = ask(rows, basis.rows, runtime.tokenizer, basis.system, runtime.context_length)
    _check_references(questions, metrics)
    start = time.monotonic()
    nats = _losses(questions, subject.losses or partial(runtime_losses, runtime), subject.name)
    between = time.monotonic()
    completions = _generate(runtime, questions, basis.max_new_tokens, subject.name)
    end = time.monotonic()
    answers = [_answer(*row, metrics) for row in zip(questions, completions, nats, strict=True)]
    return Evaluation(
        subject=subject.name,
        basis=basis,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={"loss": round(between - start, 3), "generation": round(end - between, 3)},
        notes=subject.notes,
        groups=count_groups([answer.group for answer in answers]),
        scores=scores_of(answers, metrics),
        answers=tuple(answers),
    )


def _check_references(questions: Sequence[Question], metrics: Sequence[Metric]) -> None:
    """Find out before minutes of work that a metric cannot use the references, or lacks its library.

    Raises:
        DataError, MissingExtra
    """
    found = ((question.row, _refusal(question, metrics)) for question in questions)
    refused = {row: refusal for row, refusal in found if refusal}
    if refused:
        raise DataError(
            f"{len(refused)} of {len(questions)} references do not suit task.metrics",
            hint=next(iter(refused.values())).hint,
            problems=[f"row {row + 1}: {refusal.message}" for row, refusal in refused.items()],
        )


def _refusal(question: Question, metrics: Sequence[Metric]) -> DataError | None:
    if question.reference is None:
        return None
    try:
        for metric in metrics:
            metric.measure("", final(question.reference))
    except DataError as refusal:
        return refusal
    return None


def _losses(questions: Sequence[Question], losses: Losses, subject: str) -> list[Ratio]:
    """One ratio a question: the sum over its token rows."""
    owners = [i for i, question in enumerate(questions) for _ in question.scored]
    tokens = [scored for question in questions for scored in question.scored]
    with progress(f"Loss of {subject}", total=len(tokens), unit="rows") as bar:
        found = losses(tokens, _counter(bar))
    sums = [(0.0, 0.0)] * len(questions)
    for owner, (nats, count) in zip(owners, found, strict=True):
        sums[owner] = (sums[owner][0] + nats, sums[owner][1] + count)
    wrong = [f"row {q.row + 1}" for q, (nats, _) in zip(questions, sums, strict=True) if not math.isfinite(nats)]
    if wrong:
        raise ModelError(
            f"the loss of '{subject}' is not a finite number on {len(wrong)} of {len(questions)} rows: "
            "its weights are damaged or overflow",
            hint="train again with a lower --learning-rate, or export again",
            problems=wrong,
        )
    return sums


def _counter(bar: Bar) -> Progress:
    def update(done: int) -> None:
        bar.update(done)

    return update


def _generate(
    runtime: Runtime, questions: Sequence[Question], max_new_tokens: int, subject: str
) -> list[Completion | None]:
    """Greedy answers; None for plain text, which asks nothing."""
    asked = [i for i, question in enumerate(questions) if question.reference is not None]
    with progress(f"Answers of {subject}", total=len(asked), unit="rows") as bar:
        completions = runtime.generate(
            [questions[i].prompt_ids for i in asked],
            Decoding(max_new_tokens=max_new_tokens),
            _counter(bar),
        )
    by_index = dict(zip(asked, completions, strict=True))
    return [by_index.get(i) for i in range(len(questions))]


def _answer(question: Question, completion: Completion | None, nats: Ratio, metrics: Sequence[Metric]) -> Answer:
    ratios = {"loss": nats}
    if completion is None or question.reference is None:
        return Answer(row=question.row, group=question.group, ratios=ratios)
    prediction, reference = final(completion.text), final(question.reference)
    return Answer(
        row=question.row,
        prompt=question.prompt,
        reference=question.reference,
        prediction=completion.text,
        finish=completion.finish,
        tokens=len(completion.tokens),
        correct=is_exact(prediction, reference),
        group=question.group,
        ratios=ratios | {metric.name: metric.measure(prediction, reference) for metric in metrics},
    )
