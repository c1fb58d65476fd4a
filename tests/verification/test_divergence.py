"""The figures of two distributions, against scipy-free sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgetune.verification.divergence import LEAD, Distributions, divergences, log_softmax, summarise


def some(seed: int, spread: float = 3.0) -> np.ndarray:
    return log_softmax((spread * np.random.default_rng(seed).normal(size=(20, 50))).astype(np.float32))


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (np.exp(p, dtype=np.float64) * (p.astype(np.float64) - q)).sum(axis=1)


def test_log_softmax_sums_to_one_and_survives_large_logits():
    found = log_softmax(np.array([[1000.0, 999.0, -1000.0]], np.float32))
    assert np.exp(found).sum() == pytest.approx(1)
    assert found[0, 0] == pytest.approx(-np.log1p(np.exp(-1)))


def test_equal_distributions_do_not_differ():
    found = divergences(Distributions(some(0)), some(0))
    assert found.kl.max() < 1e-9
    assert found.agreeing == found.clear > 0


def test_kl_is_its_definition():
    found = divergences(Distributions(some(0)), some(1))
    np.testing.assert_allclose(found.kl, kl(some(0), some(1)), rtol=1e-6)


@pytest.mark.parametrize("kept", [2, 5, 49, 50])
def test_the_likeliest_tokens_give_a_lower_bound(kept):
    whole, part = divergences(Distributions(some(0)), some(1)), Distributions(some(0)).likeliest(kept)
    bound = divergences(part, some(1))
    assert (bound.kl <= whole.kl + 1e-6).all()
    assert (bound.clear, bound.agreeing) == (whole.clear, whole.agreeing)
    if kept == 50:
        np.testing.assert_allclose(bound.kl, whole.kl, rtol=1e-5)


def test_near_ties_are_no_disagreement():
    own = log_softmax(np.array([[1.0, 1.0 - LEAD / 2, 0.0], [5.0, 0.0, 0.0]], np.float32))
    theirs = log_softmax(np.array([[0.9, 1.0, 0.0], [0.0, 5.0, 0.0]], np.float32))
    found = divergences(Distributions(own), theirs)
    assert (found.clear, found.agreeing) == (1, 0)
    summary = summarise([found])
    assert (summary.positions, summary.clear, summary.top1) == (2, 1, 0.0)


def test_no_clear_favourite_at_all_is_no_failure():
    flat = log_softmax(np.zeros((3, 4), np.float32))
    assert summarise([divergences(Distributions(flat), flat)]).top1 == 1.0
