"""Figures of a classifier from its answers: accuracy, F1 of each class and their mean, loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetune.evaluation.intervals import macro_bootstrap, pooled
from edgetune.evaluation.metrics import Score, score
from edgetune.evaluation.record import Answer

#: What ``task.metrics`` of a classifier's evaluation says: how :func:`edgetune.evaluation.figures.part` knows one.
CLASSES = ("accuracy",)
ACCURACY = "share of rows that got their own class"
LOSS = "mean -ln p of the row's own class, in nats"
MACRO_F1 = "mean of the F1 of all classes, each class counted alike"
CLASS_F1 = "2 · rows of the class that got it / (rows of the class + rows that got it)"


def class_scores(answers: Sequence[Answer]) -> tuple[Score, ...]:
    """Every figure, with 95 % intervals."""
    groups = [answer.group for answer in answers]
    names = sorted({answer.reference for answer in answers} | {answer.prediction for answer in answers})
    table = np.asarray([[_f1_parts(answer, name) for name in names] for answer in answers], np.float64)
    each = [
        score(f"f1 of {name}", CLASS_F1, list(map(tuple, table[:, place])), proportion=False, groups=groups)
        for place, name in enumerate(names)
    ]
    mean = float(np.mean([pooled(list(map(tuple, table[:, place]))) for place in range(len(names))]))
    macro = Score("macro_f1", mean, *macro_bootstrap(table, groups), len(answers), MACRO_F1)
    accuracy = [answer.ratios["accuracy"] for answer in answers]
    losses = [answer.ratios["loss"] for answer in answers]
    return (
        score("accuracy", ACCURACY, accuracy, proportion=True, groups=groups),
        macro,
        score("loss", LOSS, losses, proportion=False, groups=groups),
        *each,
    )


def _f1_parts(answer: Answer, name: str) -> tuple[float, float]:
    is_of, got = answer.reference == name, answer.prediction == name
    return 2.0 * (is_of and got), float(is_of) + float(got)
