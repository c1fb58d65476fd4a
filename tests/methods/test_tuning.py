"""Which rates are tried, and which is taken."""

from __future__ import annotations

import math

import pytest
import tinytraining

from edgetune.methods.planning import Method, Wanted, plan_methods
from edgetune.methods.record import Budget, Rate
from edgetune.methods.tuning import at_lower_rate, is_given_up, short, tune
from edgetune.trials import with_settings


def method(rate):
    return Method("lora", {"name": "tiny-lora", "train.learning_rate": rate}, rate, "the recipe's own")


def valley(lowest):
    """A loss that is smallest at a rate, and asked for at most once."""
    asked = []

    def loss_at(rate):
        assert rate not in asked
        asked.append(rate)
        return abs(math.log10(rate / lowest))

    return loss_at, asked


@pytest.mark.parametrize("lowest", [1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2])
def test_it_goes_to_the_lowest_loss_and_looks_at_both_sides(lowest):
    loss_at, asked = valley(lowest)
    found = tune(method(1e-3), 9, loss_at)
    assert found.rate == found.settings["train.learning_rate"] == pytest.approx(lowest, rel=0.01)
    assert min(asked) < found.rate < max(asked)
    assert [one.rate for one in found.tried] == sorted(asked)
    assert len(asked) <= 5
    assert "not tried" not in found.why


def test_a_rate_that_a_whole_training_does_not_bear_is_given_up_until_none_is_lower():
    found = tune(method(1e-3), 9, lambda rate: 1 + abs(math.log10(rate / 1e-3)))
    assert not is_given_up(found, 1.04), "other rows chose"
    assert is_given_up(found, 1.06)
    lower = at_lower_rate(found, 18, 1.06)
    assert (lower.rate, lower.settings["train.learning_rate"], lower.given_up) == (3.16e-4, 3.16e-4, (1e-3,))
    assert lower.why.startswith("the next lower, as the whole training from seed 18 ended at loss 1.060, worse")
    assert "diverged at 0.001" in at_lower_rate(found, 18, math.inf).why
    assert at_lower_rate(lower, 18, 9.0) is None
    assert not Rate(method="lora", value=lower.rate, why="", tried=lower.tried, given_up=lower.given_up).at_edge
    assert not is_given_up(method(1e-3), 9.0), "nothing was tried"


def test_tries_are_not_exceeded_and_an_end_that_may_go_on_is_said():
    loss_at, asked = valley(1e-6)
    found = tune(method(1e-3), 3, loss_at)
    assert asked == [1e-3, 3.16e-4, 1e-4]
    assert found.rate == pytest.approx(1e-4)
    assert found.why.endswith("the next one was not tried")


def test_where_all_diverge_the_way_is_down():
    found = tune(method(1e-2), 4, lambda rate: 0.5 if rate < 1e-3 else None)
    assert found.rate == pytest.approx(3.16e-4)
    assert "0.01 (diverged)" in found.why
    assert [one.loss for one in found.tried] == [0.5, None, None, None]


def test_no_rate_is_above_what_recipes_take():
    found = tune(method(0.5), 9, lambda rate: -rate)
    assert (found.rate, max(one.rate for one in found.tried)) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(examples=96), {"train.max_steps": 4, "train.max_minutes": None}),
        (Budget(minutes=3), {"train.max_steps": None, "train.max_minutes": 1.0}),
        (Budget(), {"train.max_steps": 20, "train.max_minutes": None}),
    ],
)
def test_a_try_gets_a_third_of_the_budget(budget, expected, tmp_path):
    recipe = with_settings(
        tinytraining.write_recipe(tmp_path / "recipe", tmp_path), {"train.max_steps": 60, "train.batch_size": 8}
    )
    (planned,), _ = plan_methods(recipe, Wanted(methods=("lora",), budget=budget), 6)
    settings = short(planned.settings, recipe.recipe, 0.25)
    assert {key: settings[key] for key in expected} == expected
    assert settings["train.learning_rate"] == 0.25
    assert settings["name"].endswith("-lora-rate")
    with_settings(recipe, settings)
