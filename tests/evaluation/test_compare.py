from __future__ import annotations

import pytest

from edgetune.errors import DataError, EdgetuneError
from edgetune.evaluation.compare import compare
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import Answer, Basis, Evaluation, load, load_if_covers, store, worst


def answer(row, correct, loss=1.0, group=None, **ratios):
    return Answer(
        group=group,
        row=row,
        prompt="p",
        reference="r",
        prediction="r" if correct else "x",
        finish="stop",
        tokens=1,
        correct=correct,
        ratios={"exact_match": (float(correct), 1.0), "loss": (loss, 1.0)} | ratios,
    )


def evaluation(subject, answers, **basis):
    base = {
        "weights_sha256": "w",
        "data_sha256": "d",
        "rows": tuple(a.row for a in answers),
        "runtime": "torch",
        "metrics": ("exact_match",),
        "max_new_tokens": 8,
        "system": None,
        "edgetune": "0",
    }
    return Evaluation(
        subject=subject,
        basis=Basis(**(base | basis)),
        created="2026-01-01T00:00:00Z",
        seconds={},
        scores=(Score("exact_match", 0.5, 0.1, 0.9, len(answers), "d"),),
        answers=tuple(answers),
    )


def test_only_common_rows_are_compared():
    base = evaluation("base", [answer(i, correct=False, loss=3.0) for i in range(4)])
    tuned = evaluation("tuned", [answer(i, correct=i != 3, loss=1.0) for i in range(2, 20)])
    got = compare(base, tuned)
    assert got.n == 2
    assert (got.lost, got.gained) == (0, 1)
    assert got.difference("exact_match").value == 0.5
    loss = got.difference("loss")
    assert (loss.before, loss.after, loss.value, loss.low, loss.high) == (3, 1, -2, -2, -2)
    assert loss.certain
    assert "2 rows both were evaluated on (4 and 18)" in got.notes[0]


def test_an_even_split_is_not_certain():
    base = evaluation("base", [answer(i, correct=i % 2 == 0) for i in range(40)])
    tuned = evaluation("tuned", [answer(i, correct=i % 2 == 1) for i in range(40)], runtime="llama.cpp")
    got = compare(base, tuned)
    assert got.p_value == 1
    assert not got.difference("exact_match").certain
    assert got.notes == ("'base' ran in torch, 'tuned' in llama.cpp",)


def test_different_data_or_no_common_row_is_an_error():
    base = evaluation("base", [answer(0, correct=True)])
    with pytest.raises(DataError, match="different data"):
        compare(base, evaluation("tuned", [answer(0, correct=True)], data_sha256="other"))
    with pytest.raises(DataError, match="no row in common"):
        compare(base, evaluation("tuned", [answer(1, correct=True)]))


def test_stored_evaluations_come_back_equal_and_only_for_the_same_basis(tmp_path):
    path = tmp_path / "evaluations" / "base.json"
    kept = evaluation("base", [answer(0, correct=True)])
    store(path, kept)
    assert load(path) == kept
    assert load_if_covers(path, kept.basis) == kept
    assert load_if_covers(path, kept.basis.model_copy(update={"weights_sha256": "other"})) is None
    path.write_text("{")
    assert load_if_covers(path, kept.basis) is None
    with pytest.raises(EdgetuneError, match="is not an evaluation") as caught:
        load(path)
    assert caught.value.hint == "edgetune eval RUN writes it"
    with pytest.raises(EdgetuneError, match="cannot read"):
        load(tmp_path / "none.json")


def test_worst_misses_leave_right_answers_out_and_sort_by_agreement_then_loss():
    answers = [
        answer(0, correct=True, loss=99.0, json_f1=(0.0, 2.0)),
        answer(1, correct=False, loss=1.0, json_f1=(2.0, 4.0)),
        answer(2, correct=False, loss=1.0, json_f1=(0.0, 4.0)),
        answer(3, correct=False, loss=5.0, json_f1=(0.0, 4.0)),
    ]
    assert [a.row for a in worst(answers, 9)] == [3, 2, 1]
    assert [a.row for a in worst(answers, 1)] == [3]


def test_a_difference_within_groups_is_drawn_and_tested_by_group():
    def pair(group):
        of = {row: f"g{row // 10}" if group else None for row in range(80)}
        base = [answer(row, correct=False, group=of[row]) for row in of]
        tuned = [answer(row, correct=row < 20, group=of[row]) for row in of]
        groups = {"groups": 8} if group else {}
        return evaluation("base", base).model_copy(update=groups), evaluation("tuned", tuned).model_copy(update=groups)

    grouped, free = compare(*pair(group=True)), compare(*pair(group=False))
    wide, narrow = grouped.difference("exact_match"), free.difference("exact_match")
    assert wide.value == narrow.value == 0.25
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert (grouped.gained, grouped.test, grouped.p_value) == (20, "permutation test over groups of rows", 0.5)
    assert (free.gained, free.test) == (20, "exact McNemar test")
    assert free.p_value < 1e-5
