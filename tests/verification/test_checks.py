"""The gates that stand on answers, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from comparisons import evaluation as classified_rows

from edgetune.data.conversation import Conversation
from edgetune.evaluation.figures import scores_of
from edgetune.evaluation.intervals import wilson
from edgetune.evaluation.metrics import chosen
from edgetune.evaluation.questions import Question, Scored
from edgetune.evaluation.record import Answer, Basis, Evaluation, Score
from edgetune.evaluation.retention import retention
from edgetune.recipe import VerifySettings
from edgetune.verification.checks import (
    Apart,
    check_distributions,
    check_endings,
    check_task,
    endings_of,
    hold_distributions,
)
from edgetune.verification.classification import LIMITS, check_accuracy
from edgetune.verification.divergence import Distributions
from edgetune.verification.limits import EIGHT, limits_for
from edgetune.verification.record import Depth
from edgetune.verification.reference import Reference, ReferenceRow

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
    _, check = check_task(
        evaluation(0, loss=3.0),
        evaluation(90, loss=1.0),
        evaluation(90, loss=1.5),
        limits_for("q8_0", VerifySettings()),
    )
    said = "0.7500 of the gain left [0.7500, 0.7500]: 3.0000 (base), 1.0000 (trained), 1.5000 (artifact) nats per token"
    assert check.text.startswith(said)
    own = {"base": 3.0, "trained": 1.0, "artifact": 1.5}
    assert check.figures == pytest.approx(own | {"retention": 0.75, "low": 0.75, "high": 0.75})
    assert (check.passed, check.undecided) == (None, False)
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


def answered(finishes, tokens, groups=None):
    return [
        Answer(row=n, correct=True, finish=finish, tokens=count, ratios={}, group=groups[n] if groups else None)
        for n, (finish, count) in enumerate(zip(finishes, tokens, strict=True))
    ]


@pytest.mark.parametrize(
    ("running", "cut", "passed"),
    [
        (0, 0, True),
        (1, 0, None),  # of a sound file of few bits: 4 %
        (3, 0, None),
        (8, 0, False),
        (0, 2, True),  # 0.93 of the length
        (0, 4, None),
        (0, 12, False),
        (3, 12, False),
    ],
)
def test_endings_of_few_answers_are_judged_as_far_as_they_tell(running, cut, passed):
    tuned = answered(["stop"] * 24, [10] * 24)
    theirs = answered(["length"] * running + ["stop"] * (24 - running), [10] * (24 - cut) + [1] * cut)
    found = endings_of(tuned, theirs)
    assert found.passed is passed
    assert found.undecided is (passed is None)
    assert ("24 answers cannot tell whether" in found.text) is (passed is None)
    assert bool(found.cause) is (passed is False)


def test_endings_of_alike_answers_tell_no_more_than_one():
    tuned, finishes = answered(["stop"] * 24, [10] * 24), ["length" if n % 6 < 2 else "stop" for n in range(24)]
    assert endings_of(tuned, answered(finishes, [10] * 24)).passed is False
    assert endings_of(tuned, answered(finishes, [10] * 24, [str(n % 6) for n in range(24)])).passed is None


@pytest.mark.parametrize(("rows", "passed"), [(1, None), (2, None), (3, False), (4, False)])
def test_most_of_very_few_answers_are_enough(rows, passed):
    finishes = ["length"] * rows + ["stop"] * (4 - rows)
    assert endings_of(answered(["stop"] * 4, [10] * 4), answered(finishes, [10] * 4)).passed is passed


@pytest.mark.parametrize(
    ("own", "theirs", "passed"),
    [(10, 10, True), (10, 9, None), (10, 5, None), (10, 4, False), (100, 93, False), (100, 96, True)],
)
def test_accuracy_is_judged_as_far_as_the_rows_tell(own, theirs, passed):
    """Each one more than the artifact is right about is a row lost; of ten rows five are p = 0.06."""
    rows = 10 if own == 10 else 100
    found = check_accuracy(classified(own, rows), classified(theirs, rows), LIMITS["int8"])
    assert found.passed is passed
    assert found.undecided is (passed is None)
    assert (f"{rows} rows cannot tell" in found.text) is (passed is None)
    assert bool(found.cause) is (passed is False)


def classified(right, rows):
    scores = (Score("accuracy", right / rows, *wilson(right, rows), rows, "share"),)
    return classified_rows(right, rows).model_copy(update={"scores": scores})


def distributions(kl, differing=(), groups=(), limits=EIGHT):
    """Rows of ten positions, five of them clear; of ``differing`` so many of the clear have another token."""
    others = (*differing, *[0] * (len(kl) - len(differing)))
    apart = Apart([(10 * one, 10.0) for one in kl], [(float(one), 5.0) for one in others], groups)
    return hold_distributions(apart, limits, text="found", figures={}, cause="why")


@pytest.mark.parametrize(
    ("kl", "passed"),
    [
        ([0.009] * 16, True),
        ([0.0101] * 16, False),  # alike in all rows: no chance
        ([0.002] * 12 + [0.0344] * 4, None),  # their mean is 0.0101
        ([0.002] * 12 + [0.08] * 4, False),  # twice what is allowed
        ([0.0001] * 15 + [1.0], False),  # a fault that one row shows
        ([0.0001] * 15 + [0.2], None),
        ([0.5], False),
        ([0.0101], None),  # one row, or four, have no interval
        ([0.0101] * 4, None),
        ([0.0101] * 5, False),
        ([float("nan")] * 16, False),
    ],
)
def test_mean_kl_is_held_to_its_limit_as_far_as_the_rows_tell(kl, passed):
    found = distributions(kl)
    assert found.passed is passed
    assert (found.cause == "why") is (passed is False)
    assert (f"{len(kl)} rows cannot tell whether mean KL [" in found.text) is (passed is None)
    assert not found.figures["kl_low"] > sum(kl) / len(kl) + 1e-12
    assert not found.figures["kl_high"] < sum(kl) / len(kl) - 1e-12


@pytest.mark.parametrize(
    ("differing", "passed"),
    [((), True), ((1,), True), ((1, 1), None), ((2, 1), None), ((1, 1, 1, 1), False), ((5,), False)],
)
def test_so_is_agreement(differing, passed):
    found = distributions([0.001] * 16, differing)  # 2 % of 80 clear positions are 1.6
    assert found.passed is passed
    assert ("agreement [" in found.text and "is below 98.0%" in found.text) is (passed is None)


def test_exactly_the_limit_is_kept():
    """1 - 0.93 is less than 0.07 in floating point."""
    apart = Apart([(0.0, 1.0)] * 100, [(1.0, 1.0)] * 7 + [(0.0, 1.0)] * 93)
    assert hold_distributions(apart, limits_for("q4_0", VerifySettings()), text="", figures={}, cause="").passed


def test_alike_rows_tell_no_more_than_one():
    kl = [0.002] * 60 + [0.03] * 40
    assert distributions(kl).passed is False
    assert distributions(kl, groups=["a", "b", "c", "d", "e"] * 12 + ["f", "g"] * 20).passed is None
    assert distributions([0.0101] * 16, groups=["a"] * 16).passed is None


class Off:
    """A runtime over four tokens that is off by so much in every second row."""

    def __init__(self, much):
        self.much = much

    def logits(self, ids, first):
        found = np.zeros((len(ids) - first, 4), np.float32)
        found[:, 0] = self.much if ids[0] % 2 else 0.0
        return found


@pytest.mark.parametrize(("group", "passed"), [(lambda n: None, False), (lambda n: str(n % 8), None)])
def test_rows_are_held_together_with_their_groups(group, passed):
    flat = Distributions(np.full((2, 4), np.log(0.25), np.float32))
    rows = []
    for number in range(400):
        parts = tuple(Scored((number, 1, 2), (-100, 1, 2)) for _ in range(2))  # a template that rewrites turns
        question = Question(number, "", (number,), None, parts, group(number))
        rows.append(ReferenceRow(Conversation(()), question, (flat, flat)))
    reference = Reference(tuple(rows), None, "x", 4)
    found = check_distributions(reference, Off(0.5), EIGHT)
    assert 0.01 < found.figures["kl_mean"] < 0.02
    assert found.passed is passed
    if passed is None:
        assert "400 rows of 8 groups of alike ones cannot tell" in found.text


def test_a_recipe_may_allow_nothing():
    strict = limits_for("q8_0", VerifySettings(max_kl=0.0, min_top1=1.0))
    assert distributions([0.0] * 4, limits=strict).passed is True
    assert distributions([0.0] * 3 + [1e-9], limits=strict).passed is False
    assert distributions([0.0] * 4, (1,), limits=strict).passed is False


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


def test_a_dozen_long_answers_cannot_tell():
    """As of bank-support: the interval leaves 1 out, and by chance alone so much is not rare."""
    base, tuned = texts(0.2, ("rouge_l",)), texts(0.5, ("rouge_l",))
    losses = [0.0] * 7 + [0.04, 0.1, 0.12, 0.2, -0.01]
    answers = tuple(
        answer.model_copy(update={"ratios": {**answer.ratios, "rouge_l": (answer.ratios["rouge_l"][0] - loss, 1.0)}})
        for answer, loss in zip(tuned.answers, losses, strict=False)
    )
    found, _ = check_task(base, tuned, tuned.model_copy(update={"answers": answers}), EIGHT)
    assert found.figures["high"] < 1
    assert 0.05 < found.figures["p_value"] < 0.2
    assert found.passed is None
    assert "cannot tell whether it is below 0.97" in found.text


def test_a_dozen_rows_that_could_have_lost_half_say_nothing_for_a_file_either():
    """As of a newcomer's questions: more of the gain was left than there was, give or take all of it."""
    base, tuned = texts(0.2, ("rouge_l",)), texts(0.3, ("rouge_l",))
    moves = [0.15, -0.15] * 5 + [0.1, 0.0]
    answers = tuple(
        answer.model_copy(update={"ratios": {**answer.ratios, "rouge_l": (answer.ratios["rouge_l"][0] + move, 1.0)}})
        for answer, move in zip(tuned.answers, moves, strict=False)
    )
    found, _ = check_task(base, tuned, tuned.model_copy(update={"answers": answers}), EIGHT)
    assert found.figures["retention"] > 1
    assert found.figures["low"] < 0.5
    assert found.passed is None
    assert "by 12 rows half of the gain could be lost" in found.text


def test_half_of_the_gain_gone_is_too_much_however_few_groups():
    sides = [
        found.model_copy(
            update={"answers": tuple(a.model_copy(update={"group": f"g{a.row % 3}"}) for a in found.answers)}
        )
        for found in (texts(0.2, ("rouge_l",)), texts(0.5, ("rouge_l",)), texts(0.25, ("rouge_l",)))
    ]
    check, _ = check_task(*sides, EIGHT)
    assert check.figures["p_value"] == 0.25
    assert check.passed is False


def test_texts_judged_by_equality_alone_cannot_be():
    sides = [texts(likeness, ("exact_match", "rouge_l")) for likeness in (0.2, 0.5, 0.2)]
    assert check_task(*sides, EIGHT)[0].passed is None
