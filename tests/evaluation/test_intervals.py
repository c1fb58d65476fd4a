from __future__ import annotations

import numpy as np
import pytest

from edgetune.evaluation.intervals import bootstrap, mcnemar, paired_bootstrap, pooled, wilson


def test_wilson_against_published_values():
    # Newcombe (1998), table I: 81/263 and 0/20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_is_seeded_and_close_to_the_normal_interval():
    values = np.random.default_rng(1).normal(5, 2, size=400)
    ratios = [(float(v), 1.0) for v in values]
    low, high = bootstrap(ratios)
    half = 1.96 * values.std() / 20
    assert (low, high) == bootstrap(ratios)
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_bootstrap_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(60):
        tokens = generator.integers(1, 9, size=60)
        nats = tokens * generator.gamma(2.0, 1.0, size=60)
        low, high = bootstrap(list(zip(nats.tolist(), tokens.astype(float).tolist(), strict=True)))
        hits += low <= 2.0 <= high
    assert hits >= 52


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(3)
    base = generator.normal(0, 10, size=200)
    before = [(float(v), 1.0) for v in base]
    after = [(float(v + 1), 1.0) for v in base + generator.normal(0, 0.5, size=200)]
    low, high = paired_bootstrap(before, after)
    assert 0.8 < low < 1 < high < 1.2


def test_no_denominator_gives_zero():
    assert pooled([(0, 0), (0, 0)]) == 0
    assert bootstrap([(0, 0), (0, 0)]) == (0, 0)


def test_mcnemar_exact():
    assert mcnemar(0, 0) == 1
    assert mcnemar(3, 3) == 1
    # 2 · P(X ≤ 1 | n = 10, p = ½) = 22 / 1024
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(22 / 1024)
