from __future__ import annotations

import pytest
from layergradients import layer, llama

from edgetune.recipe import MethodSettings
from edgetune.sensitivity.choosing import choose, is_target, names_of


def values(layers, **method):
    return {change.key: change.value for change in choose(layers, MethodSettings(**method))}


def test_a_kind_that_holds_nearly_all_is_named_alone():
    layers = [one.model_copy(update={"outputs": 4}) if "q_proj" in one.name else one for one in llama(4, q_proj=1.0)]
    assert values(layers)["method.target_modules"] == ("self_attn.q_proj",)


def test_blocks_that_hold_nearly_all_are_named_layer_by_layer():
    assert values(llama(4, b3=1.0))["method.target_modules"] == (
        "model.layers.3.self_attn.q_proj",
        "model.layers.3.mlp.up_proj",
    )


def test_sensitivity_that_is_spread_out_leaves_all_layers():
    found = choose(llama(4), MethodSettings())
    assert found[0].value == "auto"
    assert "spread out" in found[0].why


def test_the_rank_is_the_smallest_that_keeps_enough():
    layers = [layer(f"m.{n}.a", n, "a", rank=16) for n in range(4)]
    assert values(layers)["method.rank"] == 16
    assert values([layer(f"m.{n}.a", n, "a", rank=2) for n in range(4)])["method.rank"] == 2


def test_what_lies_outside_of_the_blocks_stays_adapted_and_hides_nothing():
    pooler = layer("pooler.dense", None, "pooler.dense", squared=1000.0)
    found = values((*llama(4, b3=1.0), pooler))["method.target_modules"]
    assert found == ("model.layers.3.self_attn.q_proj", "model.layers.3.mlp.up_proj", "pooler.dense")
    assert values((*llama(4), pooler))["method.target_modules"] == "auto"


def test_a_rank_beyond_those_proposed_is_said():
    found = choose([layer(f"m.{n}.a", n, "a", rank=100) for n in range(4)], MethodSettings())
    assert found[1].value == 64
    assert "the largest proposed; it keeps 64%" in found[1].why


def test_an_alpha_that_the_recipe_names_keeps_its_ratio():
    layers = [layer(f"m.{n}.a", n, "a", rank=8) for n in range(4)]
    assert values(layers, rank=16, alpha=16)["method.alpha"] == 8
    assert "method.alpha" not in values(layers, rank=16)
    assert "method.alpha" not in values(layers, rank=8, alpha=99)


def test_rows_that_disagree_propose_nothing():
    assert choose([layer(f"m.{n}.a", n, "a", squared=0.001, noise=0.01) for n in range(4)], MethodSettings()) == ()


def test_a_kind_whose_name_is_the_end_of_another_is_written_out():
    """In BERT ``output.dense`` ends ``attention.output.dense`` too."""
    kinds = ("attention.output.dense", "output.dense")
    layers = [layer(f"encoder.layer.{n}.{kind}", n, kind) for n in range(2) for kind in kinds]
    wanted = [one for one in layers if one.kind == "output.dense"]
    assert names_of(wanted, layers) == ("encoder.layer.0.output.dense", "encoder.layer.1.output.dense")
    assert names_of(layers, layers) == "auto"


@pytest.mark.parametrize(
    ("targets", "meant"),
    [("auto", True), (("q_proj",), True), (("self_attn.q_proj",), True), (("proj",), False), (("k_proj",), False)],
)
def test_names_mean_what_peft_makes_of_them(targets, meant):
    assert is_target("model.layers.0.self_attn.q_proj", targets) is meant
