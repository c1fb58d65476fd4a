"""Which methods a recipe can be trained with, and with what rate."""

from __future__ import annotations

import pytest
import tinyclassifier
import tinytraining

from edgetune.cli import main
from edgetune.errors import RecipeError, WrongUsage
from edgetune.methods.planning import METHODS, Wanted, plan_methods
from edgetune.methods.record import Budget
from edgetune.methods.words import wanted_of
from edgetune.training.methods import ADAPTER_LEARNING_RATE
from edgetune.trials import with_settings


def test_a_classifier_has_no_qlora_and_is_told_why(resolved):
    methods, left_out = plan_methods(resolved, Wanted(), lambda: 2)
    assert [one.name for one in methods] == ["full", "frozen", "head-only", "lora", "dora"]
    assert [one.method for one in left_out] == ["qlora"]
    assert "qlora is for generation" in left_out[0].reason


def test_a_generating_model_has_all(tmp_path):
    resolved = tinytraining.write_recipe(tmp_path / "recipe", tmp_path)
    methods, left_out = plan_methods(resolved, Wanted(), lambda: 6)
    assert ([one.name for one in methods], left_out) == (list(METHODS), [])


def test_rates_keep_the_known_ratio_to_the_recipes_own(resolved):
    rates = {one.name: one for one in plan_methods(resolved, Wanted(rates={"dora": 0.5}), lambda: 2)[0]}
    assert (rates["lora"].rate, rates["lora"].why) == (0.01, "the recipe's own")
    assert rates["full"].rate == rates["frozen"].rate == pytest.approx(0.001)
    assert rates["full"].why == "0.1 times the recipe's: adapters take about ten times what full training takes"
    assert rates["head-only"].rate == pytest.approx(0.01)
    assert "new head" in rates["head-only"].why
    assert (rates["dora"].rate, rates["dora"].why) == (0.5, "as given")


@pytest.mark.parametrize(("rate", "adapters"), [(1e-2, 1e-2), (None, ADAPTER_LEARNING_RATE)])
def test_from_a_recipe_of_a_new_head_adapters_get_its_rate_and_weights_a_tenth(tmp_path, base, rate, adapters):
    head = {"kind": "freeze", "train_head_only": True}
    resolved = tinyclassifier.write_recipe(tmp_path / "r", base, method=head, train={"learning_rate": rate})
    rates = {one.name: one.rate for one in plan_methods(resolved, Wanted(), lambda: 2)[0]}
    assert rates["lora"] == pytest.approx(adapters)
    assert rates["full"] == pytest.approx(adapters / 10)


def test_from_a_full_recipe_adapters_get_ten_times_its_rate(tmp_path, base):
    resolved = tinyclassifier.write_recipe(tmp_path / "r", base, method={"kind": "full"}, train={"learning_rate": 1e-5})
    rates = {one.name: one.rate for one in plan_methods(resolved, Wanted(), lambda: 2)[0]}
    assert rates["lora"] == pytest.approx(1e-4)


def last_layers(resolved, wanted, layers):
    methods, _ = plan_methods(resolved, wanted, lambda: layers)
    return next(one.settings["method.train_last_layers"] for one in methods if one.name == "frozen")


def test_a_third_of_the_layers_trains_unless_said_otherwise(resolved):
    assert [last_layers(resolved, Wanted(), layers) for layers in (2, 6, 30)] == [1, 2, 10]
    assert last_layers(resolved, Wanted(last_layers=4), 6) == 4


def test_where_layers_cannot_be_counted_frozen_is_left_out(resolved):
    def layers():
        raise RecipeError("its layers cannot be counted: give --last-layers")

    methods, left_out = plan_methods(resolved, Wanted(), layers)
    assert "--last-layers" in next(one.reason for one in left_out if one.method == "frozen")
    assert [one.method for one in plan_methods(resolved, Wanted(last_layers=1), layers)[1]] == ["qlora"]
    assert len(methods) == 4


def test_a_recipe_that_freezes_keeps_its_own_layers(tmp_path, base):
    own = {"kind": "freeze", "train_patterns": ["pooler"]}
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base, method=own)
    by_name = {one.name: one.settings for one in plan_methods(resolved, Wanted(), lambda: 2)[0]}
    assert with_settings(resolved, by_name["frozen"]).recipe.method.train_patterns == ("pooler",)
    assert with_settings(resolved, by_name["full"]).recipe.method.train_patterns == ()


def test_one_budget_for_all(resolved):
    timed = [one.settings for one in plan_methods(resolved, Wanted(budget=Budget(minutes=0.5)), lambda: 2)[0]]
    assert {(one["train.max_minutes"], one["train.max_steps"]) for one in timed} == {(0.5, None)}
    counted = [one.settings for one in plan_methods(resolved, Wanted(budget=Budget(examples=50)), lambda: 2)[0]]
    assert {(one["train.max_minutes"], one["train.max_steps"]) for one in counted} == {(None, 4)}  # of 16 rows


def test_unknown_methods_are_refused(resolved):
    with pytest.raises(WrongUsage, match="no method is called ful, lore"):
        plan_methods(resolved, Wanted(methods=("ful",), rates={"lore": 0.1}), lambda: 2)


def test_a_rate_for_a_method_that_is_not_compared_is_refused(resolved):
    with pytest.raises(WrongUsage, match="a rate is given for lora, which is not compared") as caught:
        plan_methods(resolved, Wanted(methods=("full",), rates={"lora": 0.1}), lambda: 2)
    assert "--methods full,lora" in caught.value.hint


def test_no_method_left_is_an_error(resolved):
    with pytest.raises(RecipeError, match="none of the methods") as caught:
        plan_methods(resolved, Wanted(methods=("qlora",)), lambda: 2)
    assert "qlora is for generation" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"minutes": 1.0, "examples": 5}, "two budgets"),
        ({"shares": ["150%"]}, "no share of the rows"),
        ({"shares": ["many"]}, "no number"),
        ({"rates": ["full"]}, "names no method"),
        ({"rates": ["full=fast"]}, "no number"),
        ({"rates": ["full=3"]}, "no learning rate"),
    ],
)
def test_wrong_words(words, message):
    usual = {"methods": (), "minutes": None, "examples": None, "shares": [], "rates": []}
    with pytest.raises(WrongUsage, match=message):
        wanted_of(**usual | words)


def test_all_rows_are_always_trained_on_and_come_first():
    assert Wanted(shares=(0.25, 1.0, 0.5)).all_shares == (1.0, 0.5, 0.25)


def test_qlora_is_compared_with_the_memory_that_it_is_for(tmp_path):
    resolved = tinytraining.write_recipe(tmp_path / "a", tmp_path)
    settings = {one.name: one.settings for one in plan_methods(resolved, Wanted(), lambda: 6)[0]}
    assert settings["qlora"]["method.base_storage"] == "4bit", "auto asks how much memory is free that day"
    assert "method.base_storage" not in settings["lora"]
    own = tinytraining.write_recipe(tmp_path / "b", tmp_path, method={"kind": "qlora", "base_storage": "dequantised"})
    settings = {one.name: one.settings for one in plan_methods(own, Wanted(), lambda: 6)[0]}
    assert "method.base_storage" not in settings["qlora"], "as the recipe says"


@pytest.mark.parametrize("budget", [Budget(minutes=2), Budget(examples=100), Budget()])
def test_under_a_budget_no_method_ends_before_another(tmp_path, base, budget):
    resolved = tinyclassifier.write_recipe(tmp_path / "r", base, train={"early_stopping": 3})
    for one in plan_methods(resolved, Wanted(budget=budget), lambda: 2)[0]:
        ends = with_settings(resolved, one.settings).recipe.train.early_stopping
        assert ends == (3 if budget == Budget() else None)


def test_no_names_are_not_all_names(resolved, capsys):
    assert main(["compare-methods", str(resolved.path), "--methods", ""]) == 2
    assert "nothing is named" in capsys.readouterr().err
