from __future__ import annotations

import numpy as np
import pytest

from edgetune.sweep.figures import FEWEST, agreement, front, importance, promised, spearman
from edgetune.sweep.record import TrialRecord


def trial(number, loss, rank=4, rate=1e-3, targets="auto", weights=1000):
    return TrialRecord(
        number=number,
        state="complete",
        origin="sampled",
        settings={"method.rank": rank, "method.target_modules": targets, "train.learning_rate": rate},
        targets="all",
        loss=loss,
        losses={},
        seconds=1.0,
        peak_rss=1,
        trainable_parameters=weights,
        reason=None,
        folder=None,
    )


def planted(count, seed=0):
    """Trials whose loss is the distance of their rate from 1; the rank does nothing."""
    generator = np.random.default_rng(seed)
    params = {
        n: {"rate": float(10 ** generator.uniform(-1, 1)), "rank": int(generator.choice([2, 8]))} for n in range(count)
    }
    return [trial(n, abs(np.log(one["rate"]))) for n, one in params.items()], params


def test_the_setting_that_matters_is_found():
    found = {one.setting: one for one in importance(*planted(40))}
    assert found["rate"].share > 0.8
    assert found["rate"].low > found["rank"].high


def test_few_trials_say_nothing_of_importance():
    trials, params = planted(FEWEST - 1)
    assert importance(trials, params) == ()


def test_settings_that_some_trials_lack_are_left_out():
    trials, params = planted(20)
    del params[3]["rank"]
    assert {one.setting for one in importance(trials, params)} == {"rate"}


def test_the_front_is_of_loss_and_weights():
    trials = [
        trial(0, 0.5, weights=10),
        trial(1, 0.4, weights=20),
        trial(2, 0.6, weights=15),
        trial(3, 0.4, weights=30),
    ]
    assert front(trials) == [0, 1]


def test_a_promise_is_the_share_of_what_all_layers_keep(suggestion):
    """q_proj has 1.0 and up_proj 0.01 in each block, in gradients of rank 4."""
    assert promised(suggestion, "auto", 64) == pytest.approx(1.0)
    assert promised(suggestion, ("q_proj",), 64) == pytest.approx(1 / 1.01)
    assert promised(suggestion, ("up_proj",), 2) == pytest.approx(0.005 / 1.01)
    assert promised(suggestion, "auto", 3) == promised(suggestion, "auto", 2)
    assert promised(suggestion, "auto", 1) is None


def test_a_guess_that_holds_is_seen_whatever_the_learning_rates(suggestion):
    generator = np.random.default_rng(0)
    trials = []
    for n in range(30):
        rate = float(10 ** generator.uniform(-4, -2))
        targets = [("q_proj",), ("up_proj",), "auto"][n % 3]
        loss = 3 * (np.log10(rate) + 3) ** 2 - promised(suggestion, targets, 4)
        trials.append(trial(n, loss, rate=rate, targets=targets))
    raw, adjusted = agreement(trials, suggestion)
    assert adjusted.rho > raw.rho
    assert adjusted.rho > 0.6
    assert adjusted.p_value < 0.01
    assert adjusted.n == 30


def test_a_guess_that_misleads_is_said_too(suggestion):
    trials = [trial(n, n % 2 + n / 100, targets=[("up_proj",), ("q_proj",)][n % 2]) for n in range(12)]
    assert agreement(trials, suggestion)[0].rho < -0.5


def test_what_cannot_be_said_is_not_said(suggestion):
    (few,) = agreement([trial(n, n) for n in range(3)], suggestion)
    assert (few.rho, few.n) == (None, 3)
    assert "are needed" in few.reason
    assert all(one.rho is None for one in agreement([trial(n, n) for n in range(20)], suggestion)), (
        "one promise for all"
    )


def test_ties_share_their_rank():
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.8660254)
