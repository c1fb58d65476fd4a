"""Gradients against autograd's own, and what is kept of them against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgetune.sensitivity.gradients import Found, Work, averaged, find, in_turns, reduce
from edgetune.sensitivity.record import RANKS


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))


def loss(net, batch):
    return torch.nn.functional.cross_entropy(net(batch["x"]), batch["shift_labels"], reduction="sum")


def batch(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(rows, 6, generator=generator),
        "shift_labels": torch.randint(0, 3, (rows,), generator=generator),
    }


def work(net, groups):
    return Work(net, groups, loss, autocast=False, advance=lambda: None)


def test_the_gradient_is_of_the_mean_over_a_group():
    net, groups = model(), [[batch(4, 2 * k), batch(2, 2 * k + 1)] for k in range(4)]
    found = find(work(net, groups), {"0": net[0].weight, "2": net[2].weight}, [["0", "2"]])
    net.requires_grad_(True)
    whole = []
    for batches in groups:
        mean = sum(loss(net, one) for one in batches) / 6
        whole.append(torch.autograd.grad(mean, [net[0].weight])[0])
    expected = [[float((a * b).sum()) for b in whole] for a in whole]
    assert np.allclose(found["0"].products, expected, rtol=1e-5)


def test_layers_in_turns_are_the_layers_at_once():
    groups = [[batch(4, k)] for k in range(4)]
    layers = {"0": (net := model())[0].weight, "2": net[2].weight}
    at_once, in_two = (find(work(net, groups), layers, turns) for turns in ([["0", "2"]], [["0"], ["2"]]))
    for name in layers:
        assert np.allclose(at_once[name].products, in_two[name].products, rtol=1e-5)


def test_gradients_that_do_not_fit_are_taken_in_turns():
    assert in_turns({"a": 10, "b": 10}, 10**6) == [["a", "b"]]
    assert in_turns({"a": 10, "b": 10}, 1) == [["a"], ["b"]]


def test_directions_of_one_half_are_judged_by_the_other():
    generator = np.random.default_rng(0)
    made = [torch.tensor(generator.normal(size=(12, 10)), dtype=torch.float32) for _ in range(4)]
    one, other = ((a + b).double().numpy() / 2 for a, b in (made[:2], made[2:]))
    left, strength, right = np.linalg.svd(one)
    expected = [sum(strength[k] * left[:, k] @ other @ right[k] for k in range(min(rank, 10))) for rank in RANKS]
    assert reduce(made).kept[0] == pytest.approx(expected, abs=1e-3)


def test_what_the_halves_have_in_common_counts_and_noise_does_not():
    """A gradient of rank 1 under much noise: nearly all of what counts is in two directions."""
    generator = np.random.default_rng(1)
    signal = np.outer(generator.normal(size=200), generator.normal(size=200)) * 2
    made = [torch.tensor(signal + 5 * generator.normal(size=(200, 200)), dtype=torch.float32) for _ in range(4)]
    found = reduce(made)
    across = np.mean([found.products[i][j] for i in range(4) for j in range(4) if i != j])
    alone = np.mean([found.products[i][i] for i in range(4)])
    assert alone > 5 * (signal**2).sum()
    assert across == pytest.approx((signal**2).sum(), rel=0.1)
    assert found.kept[0][RANKS.index(2)] == pytest.approx((signal**2).sum(), rel=0.15)


def test_the_seed_of_everything_else_is_not_moved():
    torch.manual_seed(5)
    reduce([torch.randn(8, 8, generator=torch.Generator().manual_seed(k)) for k in range(4)])
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == after


def test_draws_are_averaged():
    one, other = Found(((1.0,),), ((2.0,), (4.0,))), Found(((3.0,),), ((0.0,), (8.0,)))
    assert averaged([one, other]) == Found(((2.0,),), ((1.0,), (6.0,)))
