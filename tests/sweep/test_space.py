from __future__ import annotations

import optuna
import pytest
from layergradients import layer

from edgetune.recipe import validate
from edgetune.sweep.space import draw, first_choices, make_space, name_of


def recipe(**method):
    return validate({"name": "tiny", "model": {"source": "x"}, "data": {"train": "x"}, "method": method}, "here")


def space(suggestion, spread=10.0, methods=(), ranks=(), **method):
    return make_space(recipe(**method), suggestion, methods, ranks, spread)


def test_what_the_recipe_has_is_one_of_the_choices(suggestion):
    found = space(suggestion, kind="rslora", rank=5, alpha=35, target_modules=["up_proj"])
    assert found.methods == ("rslora", "dora")
    assert 5 in found.ranks
    assert 7.0 in found.ratios
    assert found.targets["recipe"] == ("up_proj",)


def test_parts_of_the_model_have_names_and_none_has_two(suggestion):
    found = space(suggestion).targets
    assert found["all"] == "auto"
    assert found["suggested"] == ("self_attn.q_proj",)
    assert found["mlp"] == ("mlp.up_proj",)
    assert len(found["upper half"]) == 4
    assert "attention" not in found, "it is what is suggested"
    assert "recipe" not in found, "it is all"
    assert len(set(found.values())) == len(found)


def test_convolutions_are_not_taken_for_what_stands_beside_attention(suggestion):
    layers = (
        *(layer(f"net.stages.{n}.convolution", n, "convolution") for n in range(4)),
        layer("stem", None, "stem"),
    )
    sensitivity = suggestion.sensitivity.model_copy(update={"layers": layers})
    found = space(suggestion.model_copy(update={"sensitivity": sensitivity, "changes": ()})).targets
    assert found == {"all": "auto", "upper half": ("net.stages.2.convolution", "net.stages.3.convolution")}


def test_settings_are_those_of_a_recipe(suggestion):
    params = {"method": "lora", "rate": 2.0, "rank": 8, "alpha_over_rank": 2.0, "targets": "mlp"}
    settings = draw(optuna.trial.FixedTrial(params), space(suggestion))
    assert settings == {
        "method.kind": "lora",
        "method.rank": 8,
        "method.alpha": 16.0,
        "method.target_modules": ("mlp.up_proj",),
        "train.learning_rate": 4e-4,
    }


def test_full_training_has_no_rank_and_a_tenth_of_the_rate(suggestion):
    settings = draw(optuna.trial.FixedTrial({"method": "full", "rate": 1.0}), space(suggestion, methods=("full",)))
    assert settings == {"method.kind": "full", "train.learning_rate": 2e-5}


def test_a_spread_of_one_keeps_the_rate(suggestion):
    params = {"method": "lora", "rank": 8, "alpha_over_rank": 2.0, "targets": "mlp"}
    assert draw(optuna.trial.FixedTrial(params), space(suggestion, spread=1.0))["train.learning_rate"] == 2e-4


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_the_first_choices_are_in_the_space(suggestion, spread):
    own = recipe(rank=16)
    made = make_space(own, suggestion, (), (), spread)
    first = first_choices(own, suggestion, made)
    assert list(first) == ["recipe", "suggested"]
    drawn = {name: draw(optuna.trial.FixedTrial(params), made) for name, params in first.items()}
    assert drawn["recipe"]["method.rank"] == 16
    assert drawn["recipe"]["method.target_modules"] == "auto"
    assert drawn["suggested"]["method.rank"] == 4
    assert drawn["suggested"]["method.alpha"] == 8
    assert drawn["suggested"]["method.target_modules"] == ("self_attn.q_proj",)


def test_a_suggestion_of_nothing_is_not_tried(suggestion):
    nothing = suggestion.model_copy(update={"changes": ()})
    assert list(first_choices(recipe(), nothing, make_space(recipe(), nothing, (), (), 10.0))) == ["recipe"]


def test_targets_are_called_by_name_however_they_are_stored(suggestion):
    assert name_of(["mlp.up_proj"], space(suggestion)) == "mlp"
    assert name_of("auto", space(suggestion)) == "all"
    assert name_of(["else"], space(suggestion)) is None
