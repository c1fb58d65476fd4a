"""Figures of a classifier against ones worked out by hand."""

from __future__ import annotations

import pytest

from edgetune.evaluation.class_scores import class_scores
from edgetune.evaluation.record import Answer


def answer(row, reference, prediction, group=None):
    correct = reference == prediction
    ratios = {"loss": (0.5, 1.0), "accuracy": (float(correct), 1.0)}
    return Answer(row=row, reference=reference, prediction=prediction, correct=correct, group=group, ratios=ratios)


#: Of a: 3 right, 1 taken for b. Of b: 1 right, 1 taken for a. Of c: none found.
PAIRS = ["aa", "aa", "aa", "ab", "bb", "ba", "ca"]


def test_f1_of_each_class_and_their_mean():
    scores = {one.name: one for one in class_scores([answer(n, *pair) for n, pair in enumerate(PAIRS)])}
    assert scores["accuracy"].value == pytest.approx(4 / 7)
    assert scores["f1 of a"].value == pytest.approx(2 * 3 / (4 + 5))
    assert scores["f1 of b"].value == pytest.approx(2 * 1 / (2 + 2))
    assert scores["f1 of c"].value == 0
    assert scores["macro_f1"].value == pytest.approx((6 / 9 + 1 / 2 + 0) / 3)
    assert scores["macro_f1"].low < scores["macro_f1"].value < scores["macro_f1"].high
    assert scores["loss"].value == 0.5


def test_groups_are_drawn_whole():
    alone = [answer(n, *pair) for n, pair in enumerate(PAIRS * 8)]
    grouped = [answer(n, *pair, group=pair) for n, pair in enumerate(PAIRS * 8)]
    width = {
        name: one.high - one.low
        for name, one in (("alone", class_scores(alone)[0]), ("grouped", class_scores(grouped)[0]))
    }
    assert width["grouped"] > width["alone"]
