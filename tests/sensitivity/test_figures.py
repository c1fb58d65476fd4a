from __future__ import annotations

import pytest
from layergradients import layer, llama

from edgetune.sensitivity.figures import by_block, by_kind, kept, shares, squared, total


def test_shares_are_of_the_whole():
    found = shares(llama(3, q_proj=0.03), by_kind)
    assert [share.name for share in found] == ["self_attn.q_proj", "mlp.up_proj"]
    assert [share.figure.value for share in found] == pytest.approx([0.75, 0.25])
    assert [share.weights for share in found] == pytest.approx([0.5, 0.5])


def test_layers_outside_of_blocks_are_a_part_of_their_own():
    layers = (*llama(2), layer("pooler.dense", None, "pooler.dense", squared=0.04))
    assert {share.name: round(share.figure.value, 3) for share in shares(layers, by_block)} == {
        "0": 0.25,
        "1": 0.25,
        "outside": 0.5,
    }


def test_the_norm_of_a_single_group_does_not_count():
    """Products of a group with itself hold its noise: 9 here, where the gradient's squared norm is 1."""
    assert squared(layer("a", 0, "a")) == 1.0


def test_a_weight_twice_as_large_is_a_quarter_as_sensitive():
    one = layer("a", 0, "a")
    assert squared(one.model_copy(update={"weight_norm": 2.0})) == 0.25


def test_rows_that_agree_give_no_spread_and_those_that_do_not_give_one():
    sure, unsure = total([layer("a", 0, "a")]), total([layer("a", 0, "a", noise=0.8)])
    assert (sure.low, sure.value, sure.high) == pytest.approx((1.0, 1.0, 1.0))
    assert unsure.low < sure.value < unsure.high or unsure.high - unsure.low > 0


def test_the_interval_is_a_jackknife_over_groups():
    """By hand: pairs of groups without the left-out one, their spread times (n - 1)/n, Student's t of 3."""
    products = [[0.0] * 4 for _ in range(4)]
    for (i, j), value in {(0, 1): 1.0, (0, 2): 2.0, (0, 3): 3.0, (1, 2): 4.0, (1, 3): 5.0, (2, 3): 6.0}.items():
        products[i][j] = products[j][i] = value
    one = layer("a", 0, "a").model_copy(update={"products": tuple(map(tuple, products))})
    without = [(4 + 5 + 6) / 3, (2 + 3 + 6) / 3, (1 + 3 + 5) / 3, (1 + 2 + 4) / 3]
    centre = sum(without) / 4
    error = (3 / 4 * sum((w - centre) ** 2 for w in without)) ** 0.5
    found = total([one])
    assert found.value == pytest.approx(3.5)
    assert found.high - found.value == pytest.approx(3.182446 * error, rel=1e-4)


def test_what_a_rank_keeps():
    layers = [layer("a", 0, "a", rank=4), layer("b", 0, "b", rank=8)]
    assert kept(layers, 2).value == pytest.approx((2 / 4 + 2 / 8) / 2)
    assert kept(layers, 8).value == pytest.approx(1.0)
