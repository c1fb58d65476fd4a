"""What is taken, and how sure it is."""

from __future__ import annotations

from dataclasses import replace

import comparisons
import pytest
from comparisons import comparison, evaluation

from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.methods import floor
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


def test_a_seed_that_learnt_nothing_is_named_though_its_method_did():
    found = floored({"full": [80, 81, 80], "lora": [80, 81, 42]}, 0.4)
    assert [(one.method, one.seed) for one in floor.failed(found)] == [("lora", 2)]
    assert "Learnt nothing that is certain: lora from seed 2; " in " ".join(choose(found).reasons)
    balanced = found.model_copy(update={"recipe": {"train": {"class_weights": "balanced"}}})
    assert floor.failed(balanced) == ()


def test_classes_weighed_alike_may_cost_accuracy():
    found = floored({"full": [90, 91, 90], "head-only": [82, 83, 83]}, 0.95)
    choice = choose(found.model_copy(update={"recipe": {"train": {"class_weights": "balanced"}}}))
    assert choice.method == "full"
    assert "see macro_f1" in " ".join(choice.reasons)


def test_nothing_is_taken_where_no_method_beats_the_most_frequent_class():
    choice = choose(floored({"full": [40, 39, 40], "head-only": [32, 33, 33]}, 0.4))
    assert choice.method is None
    assert choice.headline == "None: no method is better than the most frequent class"


def exported(found, **shifts):
    """A comparison in which exporting moved the figure of some methods: by method, (value, low, high)."""

    def moved(one):
        value, *ends = shifts.get(one.method, (0.0, -0.01, 0.01))
        return one.model_copy(update={"shift": Difference("accuracy", 0.8, 0.8 + value, *ends)})

    return found.model_copy(update={"devices": tuple(map(moved, found.devices))})


ALIKE = {"full": [80, 81, 80], "lora": [80, 81, 80]}
LOST = (-0.03, -0.05, -0.02)


def test_what_exporting_certainly_takes_counts():
    choice = choose(exported(comparison(ALIKE), lora=LOST))
    assert (choice.method, choice.sure) == ("full", True), "lora takes less memory, and is certainly worse"
    assert choice.headline == "Take full: the best accuracy less what exporting took, 0.803"
    said = " ".join(choice.reasons)
    assert "It has the best accuracy less what exporting took of 2 methods." in said
    assert "exporting took it of the first seed's model (accuracy): lora -0.030 [-0.050, -0.020]." in said


def test_what_exporting_may_have_taken_by_chance_does_not():
    choice = choose(exported(comparison(ALIKE), lora=(-0.03, -0.05, 0.01)))
    assert choice.method == "lora"
    assert "exporting" not in " ".join(choice.reasons)


def test_a_method_that_exporting_takes_as_much_of_as_of_the_best_stays_without_being_certain():
    choice = choose(exported(comparison(ALIKE), full=LOST, lora=LOST))
    assert (choice.method, choice.sure) == ("lora", False)
    assert "it could be further behind full than 1" in " ".join(choice.reasons)


def test_one_that_may_have_lost_little_makes_a_cheaper_choice_uncertain():
    better = {"full": [83, 84, 83], "lora": [81, 82, 81]}
    assert choose(exported(comparison(better), full=(-0.08, -0.09, -0.07))).sure
    choice = choose(exported(comparison(better), full=(-0.05, -0.09, -0.001)))
    assert (choice.method, choice.sure) == ("lora", False)
    assert "further behind full" in " ".join(choice.reasons)


def test_the_headline_is_of_what_decided():
    choice = choose(exported(comparison({"full": [82, 83, 84], "lora": [80, 81, 82]}), full=(-0.1, -0.12, -0.08)))
    assert choice.headline.startswith("Take lora: 0.080 ahead of full, less what exporting took, at 66.7")
    assert "-0.020" in choice.reasons[0]
    assert choice.reasons[0].endswith("over the held-out rows, as trained.")


def test_of_a_loss_exporting_takes_by_adding():
    found = comparison({"full": [20, 21, 20], "lora": [20, 21, 20]}).model_copy(update={"lower_is_better": True})
    assert choose(exported(found, lora=(0.03, 0.02, 0.05))).method == "full"
    assert choose(exported(found, lora=LOST)).method == "lora", "it became better"


def test_what_was_not_asked_as_exported_is_named_and_not_certain():
    found = exported(comparison(ALIKE), lora=LOST)
    full, lora = found.devices
    choice = choose(found.model_copy(update={"devices": (full.model_copy(update={"shift": None}), lora)}))
    assert (choice.method, choice.sure) == ("full", False)
    assert "Not certain: exported, others were asked, and this one was not." in choice.reasons
    assert "lora -0.030 [-0.050, -0.020]; not asked as exported: full." in " ".join(choice.reasons)


def test_one_that_may_have_lost_least_makes_the_choice_uncertain_though_others_lead_as_trained():
    rights = {"full": [84, 85, 84], "dora": [85, 86, 85], "lora": [80, 81, 80]}
    choice = choose(exported(comparison(rights), dora=(-0.1, -0.11, -0.09), full=(-0.05, -0.09, -0.001)))
    assert (choice.method, choice.sure) == ("lora", False)
    assert "further behind full" in " ".join(choice.reasons)


def test_what_exporting_makes_no_better_than_the_most_frequent_class_is_not_taken():
    found = exported(floored({"full": [50, 51, 50], "head-only": [32, 33, 33]}, 0.4), full=(-0.15, -0.2, -0.1))
    choice = choose(found)
    assert choice.method is None
    assert "No better, less what exporting took, than the most frequent class" in " ".join(choice.reasons)


def test_one_method_alone_is_no_choice():
    choice = choose(comparison({"full": [80, 81, 80]}))
    assert (choice.method, choice.sure) == (None, False)
    assert "full alone was trained" in choice.headline
