"""The gates that stand on answers, in both directions."""

from __future__ import annotations

import pytest

from edgetune.evaluation.figures import scores_of
from edgetune.evaluation.metrics import chosen
from edgetune.evaluation.record import Answer, Basis, Evaluation
from edgetune.evaluation.retention import retention
from edgetune.recipe import VerifySettings
from edgetune.verification.checks import check_endings, check_task
from edgetune.verification.limits import EIGHT, limits_for
from edgetune.verification.record import Depth

ROWS = 100


def evaluation(right: int, *, tokens: int = 10, stopped: int = ROWS, loss: float = 1.0) -> Evaluation:
    """The first ``right`` of the rows answered well, the first ``stopped`` with an end."""
    answers = tuple(
        Answer(
            row=n,
            correct=n < right,
            finish="stop" if n < stopped else "length",
            tokens=tokens,
            ratios={"loss": (loss * 10, 10), "exact_match": (float(n < right), 1)},
        )
        for n in range(ROWS)
    )
    basis = Basis(
        weights_sha256="w",
        data_sha256="d",
        rows=tuple(range(ROWS)),
        runtime="fake",
        metrics=("exact_match",),
        max_new_tokens=20,
        system=None,
        edgetune="0",
    )
    scores = scores_of(answers, chosen(basis.metrics))
    return Evaluation(subject="x", basis=basis, created="now", seconds={}, scores=scores, answers=answers)


def task(base, tuned, exported):
    (found, _) = check_task(evaluation(base), evaluation(tuned), evaluation(exported), EIGHT)
    return found


@pytest.mark.parametrize(
    ("base", "tuned", "exported", "passed"),
    [
        (0, 90, 90, True),
        (0, 90, 95, True),
        (0, 90, 88, True),
        (0, 90, 80, False),
        (0, 90, 0, False),
        (50, 90, 80, False),
        (90, 30, 50, None),  # training spoilt it: there is no gain to keep
        (40, 41, 20, None),  # a gain that can be chance
        (0, 0, 0, None),
    ],
)
def test_the_task_gate(base, tuned, exported, passed):
    found = task(base, tuned, exported)
    assert found.passed is passed
    assert bool(found.cause) is (passed is False)


def test_a_small_loss_of_few_rows_is_undecided():
    found = retention(evaluation(0), evaluation(20), evaluation(19), "exact_match")
    assert found.value == pytest.approx(0.95)
    assert found.high == 1.0
    assert task(0, 20, 19).passed is None


def test_retention_of_the_loss_counts_downwards():
    found = retention(
        evaluation(0, loss=3.0), evaluation(0, loss=1.0), evaluation(0, loss=1.5), "loss", lower_is_better=True
    )
    assert found.value == pytest.approx(0.75)
    worse = retention(
        evaluation(0, loss=1.0), evaluation(0, loss=3.0), evaluation(0, loss=2.0), "loss", lower_is_better=True
    )
    assert worse.value is None


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, None),
        ({"stopped": 99}, None),
        ({"stopped": 80}, "does not know the token that ends an answer"),
        ({"stopped": 0, "tokens": 20}, "does not know the token that ends an answer"),
        ({"tokens": 8}, "too early"),
        ({"tokens": 12}, None),
    ],
)
def test_endings(changes, cause):
    found = check_endings(evaluation(50), evaluation(50, **changes))
    assert found.passed is (cause is None)
    assert cause is None or cause in found.cause


def test_a_recipe_sets_limits_of_its_own():
    own = limits_for("q8_0", VerifySettings(max_kl=0.0, min_retention=0.5))
    assert (own.kl_mean, own.retention, own.top1) == (0.0, 0.5, EIGHT.top1)


def test_which_depth_covers_which():
    assert Depth(rows=64, answers=None).covers(Depth(rows=16, answers=24))
    assert not Depth(rows=16, answers=24).covers(Depth(rows=64, answers=None))
    assert not Depth(rows=64, answers=10).covers(Depth(rows=16, answers=24))
    assert Depth(rows=16, answers=24).covers(Depth(rows=16, answers=24))


def texts(likeness: float, metrics=("rouge_l", "chrf")) -> Evaluation:
    """Long answers, none equal to its reference: as alike as given, in turn a little more and a little less."""
    answers = tuple(
        Answer(
            row=n,
            correct=False,
            finish="stop",
            tokens=100,
            ratios={
                "loss": (100.0, 100),
                "rouge_l": (likeness + 0.02 * (-1) ** n, 1),
                "chrf": (100 * likeness, 1),
                "exact_match": (0.0, 1),
            },
        )
        for n in range(ROWS)
    )
    found = evaluation(0)
    basis = found.basis.model_copy(update={"metrics": metrics})
    return found.model_copy(
        update={"basis": basis, "answers": answers, "scores": scores_of(answers, chosen(basis.metrics))}
    )


@pytest.mark.parametrize(
    ("base", "tuned", "exported", "passed"),
    [(0.2, 0.5, 0.5, True), (0.2, 0.5, 0.495, True), (0.2, 0.5, 0.4, False), (0.5, 0.2, 0.2, None)],
)
@pytest.mark.parametrize("metrics", [("rouge_l", "chrf"), ("chrf", "rouge_l")])
def test_texts_are_judged_by_the_first_metric_that_the_recipe_names(base, tuned, exported, passed, metrics):
    sides = [texts(likeness, metrics) for likeness in (base, tuned, exported)]
    (found, _) = check_task(*sides, EIGHT)
    assert found.passed is passed
    assert metrics[0] in found.text
    assert "exact_match" not in found.text


def test_texts_judged_by_equality_alone_cannot_be():
    sides = [texts(likeness, ("exact_match", "rouge_l")) for likeness in (0.2, 0.5, 0.2)]
    assert check_task(*sides, EIGHT)[0].passed is None
