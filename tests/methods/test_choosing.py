"""What is taken, and how sure it is."""

from __future__ import annotations

from dataclasses import replace

import comparisons
import pytest
from comparisons import comparison, evaluation

from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.methods.choosing import choose
from edgetune.methods.pairing import all_pairs
from edgetune.methods.summing import Spread, spread, summaries


def test_the_cheapest_of_those_that_are_as_good():
    choice = choose(comparison({"full": [80, 81, 80], "lora": [80, 81, 80], "head-only": [60, 61, 60]}))
    assert (choice.method, choice.sure) == ("lora", True)
    assert "at 66.7" in choice.headline
    assert "Not told apart from it in accuracy: full" in " ".join(choice.reasons)


def test_what_is_certainly_worse_is_not_taken_however_cheap():
    choice = choose(comparison({"full": [80, 81, 82], "head-only": [60, 61, 62]}))
    assert choice.method == "full"
    assert choice.headline == "Take full: the best accuracy, 0.810"


def test_intervals_that_overlap_make_it_probable_only():
    choice = choose(comparison({"full": [90, 70, 80], "lora": [70, 90, 80]}))
    assert (choice.method, choice.sure) == ("lora", False)
    assert choice.headline.startswith("Probably lora")
    assert any("Not certain" in reason for reason in choice.reasons)


def test_the_best_is_not_certain_while_a_cheaper_one_could_be_as_good():
    choice = choose(comparison({"full": [80, 82, 84], "lora": [79, 84, 76], "head-only": [60, 61, 62]}))
    assert (choice.method, choice.sure) == ("full", False)
    assert choice.headline.startswith("Probably full")
    assert any("lora took less memory, and is not certainly worse" in reason for reason in choice.reasons)


def test_a_bad_method_that_forgets_nothing_makes_no_rival_go_away():
    rights = {"full": [80, 82, 84], "lora": [79, 84, 76], "head-only": [60, 61, 62]}
    choice = choose(comparison(rights, bits={"full": 0.05, "lora": 0.03, "head-only": 0.0}))
    assert (choice.method, choice.sure) == ("full", False)
    assert any("lora took less memory" in reason for reason in choice.reasons)


def test_what_forgets_certainly_more_is_not_taken():
    rights = {"full": [80, 81, 80], "frozen": [80, 81, 80], "lora": [80, 81, 80]}
    choice = choose(comparison(rights, bits={"full": 0.05, "frozen": 0.02, "lora": 0.3}))
    assert choice.method == "frozen"
    assert "of the forgetting" in choice.headline
    assert any("Bits for a byte" in reason for reason in choice.reasons)


def test_what_few_passages_cannot_tell_apart_forgets_no_more(monkeypatch):
    rights = {"full": [80, 81, 80], "lora": [80, 81, 80]}
    assert choose(comparison(rights, bits={"full": 0.02, "lora": 0.05})).method == "full"
    monkeypatch.setattr(comparisons, "PASSAGES", 0.02)
    assert choose(comparison(rights, bits={"full": 0.02, "lora": 0.05})).method == "lora", "seeds alone are sure"


def test_equal_memory_is_decided_by_the_file():
    found = comparison({"lora": [80, 81, 80], "dora": [80, 81, 80]})
    same = tuple(one.model_copy(update={"peak_rss": 600_000_000 + (one.method == "lora")}) for one in found.trainings)
    assert choose(found.model_copy(update={"trainings": same})).method == "lora"


def test_two_seeds_are_too_few():
    choice = choose(comparison({"full": [80, 81], "lora": [70, 71]}))
    assert (choice.method, choice.headline) == (None, "Not yet: 2 seeds, 3 are needed")


def test_a_loss_is_better_when_it_is_lower():
    found = comparison({"full": [20, 21, 22], "lora": [60, 61, 62]}).model_copy(update={"lower_is_better": True})
    assert choose(found).method == "full"


def test_pairs_are_of_seeds_and_rows_and_mirror_each_other():
    sides = {
        "a": {0: evaluation(60), 1: evaluation(61), 2: evaluation(62)},
        "b": {0: evaluation(50), 1: evaluation(51)},
    }
    there, back = all_pairs(sides, "accuracy")
    assert (there.method, there.other, there.seeds) == ("a", "b", 2)
    assert there.value == pytest.approx(0.1)
    assert (there.low, there.high) == (None, None)
    assert 0 < there.row_low < 0.1 < there.row_high
    assert (back.value, back.row_low) == (-there.value, -there.row_high)
    assert not there.certain


def row_width(data):
    sides = {
        name: {seed: evaluation(right, data=data(seed)) for seed in range(9)} for name, right in (("a", 60), ("b", 50))
    }
    pair = all_pairs(sides, "accuracy")[0]
    return pair.row_high - pair.row_low


def test_the_same_rows_under_more_seeds_are_no_more_rows():
    assert row_width(lambda seed: "same") > 2 * row_width(lambda seed: f"rows of {seed}")


def test_a_spread_over_three_seeds_has_students_interval():
    assert spread([1.0, 2.0, 3.0]).low == pytest.approx(2 - 4.303 / 3**0.5, abs=1e-3)
    assert spread([None]) is None
    assert spread([2.0, 4.0]) == Spread(3.0)


def test_specialisations_in_a_gigabyte():
    full, lora = summaries(comparison({"full": [1, 1, 1], "lora": [1, 1, 1]}))
    assert full.fit_trained == 1_000_000_000 // 90_000_000
    assert lora.fit_trained == (1_000_000_000 - 88_000_000) // 4_000_000
    assert full.fit_exported == lora.fit_exported == 1_000_000_000 // 23_000_000


def test_the_interval_of_a_share_ends_where_shares_end():
    """Three seeds that differ much have an interval that is wider than what an accuracy can be."""
    (wide,) = summaries(comparison({"full": [50, 99, 99]}))
    assert spread([0.5, 0.99, 0.99]).high > 1
    assert wide.task.high == 1.0
    (low,) = summaries(comparison({"full": [1, 1, 60]}))
    assert low.task.low == 0.0
    (loss,) = summaries(comparison({"full": [50, 99, 99]}).model_copy(update={"lower_is_better": True}))
    assert loss.task.high > 1
    chrf = comparison({"full": [50, 99, 99]})
    scored = tuple(
        one.model_copy(update={"scores": (replace(one.scores[0], name="chrf", value=100 * one.scores[0].value),)})
        for one in chrf.trainings
    )
    (hundred,) = summaries(chrf.model_copy(update={"metric": "chrf", "trainings": scored}))
    assert hundred.task.high == 100.0


def floored(rights, value):
    score = Score("accuracy", value, value - 0.05, value + 0.05, comparisons.ROWS, "share of rows")
    return comparison(rights).model_copy(update={"floor": score})


def test_methods_that_learnt_no_more_than_the_most_frequent_class_are_named():
    choice = choose(floored({"full": [80, 81, 80], "head-only": [32, 33, 33]}, 0.4))
    assert choice.method == "full"
    assert "No better than the most frequent class (accuracy 0.400): head-only." in choice.reasons


def test_what_is_within_the_margin_but_no_better_is_not_taken():
    assert choose(floored({"full": [81, 80, 81], "lora": [80, 80, 80]}, 0.804)).method == "full"


def test_what_chance_could_make_as_good_as_the_most_frequent_class_is_not_certain():
    choice = choose(floored({"full": [41, 40, 40], "head-only": [32, 33, 33]}, 0.4))
    assert (choice.method, choice.sure) == ("full", False)
    assert "Not certain: chance could make it as good as the most frequent class." in choice.reasons


def test_classes_weighed_alike_may_cost_accuracy():
    found = floored({"full": [90, 91, 90], "head-only": [82, 83, 83]}, 0.95)
    choice = choose(found.model_copy(update={"recipe": {"train": {"class_weights": "balanced"}}}))
    assert choice.method == "full"
    assert "see macro_f1" in " ".join(choice.reasons)


def test_nothing_is_taken_where_no_method_beats_the_most_frequent_class():
    choice = choose(floored({"full": [40, 39, 40], "head-only": [32, 33, 33]}, 0.4))
    assert choice.method is None
    assert choice.headline == "None: no method is better than the most frequent class"


def test_that_the_exported_file_of_what_is_taken_is_worse_is_said():
    found = comparison({"full": [80, 81, 80], "lora": [80, 81, 80]})
    full, lora = found.devices

    def reasons(low, high):
        worse = lora.model_copy(update={"shift": Difference("accuracy", 0.8, 0.77, low, high)})
        return " ".join(choose(found.model_copy(update={"devices": (full, worse)})).reasons)

    assert "by more than its rows explain (accuracy -0.030 [-0.050, -0.010])" in reasons(-0.05, -0.01)
    assert "Exported" not in reasons(-0.05, 0.01)


def test_one_method_alone_is_no_choice():
    choice = choose(comparison({"full": [80, 81, 80]}))
    assert (choice.method, choice.sure) == (None, False)
    assert "full alone was trained" in choice.headline
