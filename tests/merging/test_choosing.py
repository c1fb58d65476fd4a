"""The rule, on evaluations made to be decided one way."""

from __future__ import annotations

import pytest

from edgetune.evaluation.figures import scores_of
from edgetune.evaluation.metrics import chosen
from edgetune.evaluation.record import Answer, Basis, Evaluation
from edgetune.merging.choosing import choose

ROWS = 100


def evaluation(*, right=80, loss=1.0, spread=0.0, asked=True):
    """``right`` of the rows are right; losses are ``loss``, every other row ``spread`` above or below it."""
    answers = []
    for row in range(ROWS):
        nats = loss + (spread if row % 2 else -spread)
        ratios = {"loss": (nats, 1.0)} | ({"exact_match": (float(row < right), 1.0)} if asked else {})
        answers.append(Answer(row=row, finish="stop", correct=row < right if asked else None, ratios=ratios))
    basis = Basis(
        weights_sha256="w",
        data_sha256="d",
        rows=tuple(range(ROWS)),
        runtime="torch",
        metrics=("exact_match",),
        max_new_tokens=8,
        system=None,
        edgetune="0",
    )
    scores = scores_of(answers, chosen(("exact_match",)))
    return Evaluation(subject="s", basis=basis, created="", seconds={}, scores=scores, answers=tuple(answers))


@pytest.mark.parametrize(
    ("nf4", "base", "expected", "words"),
    [
        ({}, {"right": 60, "loss": 2.0}, "nf4", "the merge into the base as stored is worse: loss +1.0000"),
        ({}, {"loss": 1.5}, "nf4", "is worse: loss +0.5000"),
        ({}, {}, "nf4", "is not better beyond chance: loss +0.0000"),
        ({}, {"right": 82}, "nf4", "is not better beyond chance"),
        ({}, {"loss": 0.995}, "nf4", "is not better beyond chance"),
        ({}, {"loss": 0.8, "spread": 3.0}, "nf4", "is not better beyond chance"),
        ({}, {"right": 95}, "base", "better than the merge into the base rounded to NF4"),
        ({}, {"loss": 0.8}, "base", "better than the merge into the base rounded to NF4"),
        ({}, {"loss": 0.5, "right": 60}, "nf4", "is worse"),
        ({}, {"loss": 2.0, "right": 95}, "base", "better"),
        ({"loss": 1.2}, {"loss": 1.1, "spread": 3.0}, "base", "is worse than unmerged: loss +0.2000"),
    ],
)
def test_the_rule(nf4, base, expected, words):
    verdict = choose("nf4", evaluation(), {"base": evaluation(**base), "nf4": evaluation(**nf4)})
    assert verdict.chosen == expected
    assert words in verdict.reason
    assert verdict.notes == ()


def test_the_best_of_two_bad_merges_comes_with_a_note():
    verdict = choose("nf4", evaluation(), {"base": evaluation(right=20), "nf4": evaluation(right=40)})
    assert verdict.chosen == "nf4"
    (note,) = verdict.notes
    assert "is worse than unmerged, and no other merge is better: loss +0.0000" in note


def test_an_adapter_that_saw_no_rounding_has_one_base():
    verdict = choose("base", evaluation(), {"base": evaluation()})
    assert verdict.chosen == "base"
    assert "no rounding was trained with" in verdict.reason


def test_plain_text_is_decided_by_its_loss():
    sides = {"base": evaluation(asked=False, loss=1.5), "nf4": evaluation(asked=False)}
    verdict = choose("nf4", evaluation(asked=False), sides)
    assert verdict.chosen == "nf4"
    assert verdict.reason.endswith("is worse: loss +0.5000 [+0.5000, +0.5000]")
