from __future__ import annotations

import numpy as np
import pytest

from edgetune.evaluation.intervals import (
    bootstrap,
    macro_bootstrap,
    mcnemar,
    paired_bootstrap,
    paired_permutation,
    pooled,
    share_interval,
    wilson,
)


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


RIGHT, WRONG = (1.0, 1.0), (0.0, 1.0)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (6, 1), (2, 9)])
def test_exchanging_rows_that_are_right_or_wrong_is_mcnemars_test(lost, gained):
    before = [RIGHT] * (lost + 3) + [WRONG] * gained
    after = [WRONG] * lost + [RIGHT] * (gained + 3)
    assert paired_permutation(before, after) == pytest.approx(mcnemar(lost, gained))


def test_many_rows_are_exchanged_at_random_to_much_the_same_end():
    before, after = [RIGHT] * 20 + [WRONG] * 6, [WRONG] * 20 + [RIGHT] * 6
    assert paired_permutation(before, after) == pytest.approx(mcnemar(20, 6), rel=0.5)
    assert paired_permutation([RIGHT] * 40, [WRONG] * 40) < 0.001


def test_groups_are_exchanged_as_wholes():
    before, after, groups = [RIGHT] * 12, [WRONG] * 12, ["a"] * 6 + ["b"] * 6
    assert paired_permutation(before, after) < 0.001
    assert paired_permutation(before, after, groups) == 0.5
    assert paired_permutation(before, after, ["a"] * 12) == 1.0, "one draw says nothing"


def test_of_alike_figures_of_few_rows_one_in_twenty_is_called_different():
    """The bootstrap's interval leaves 0 out more often than it says."""
    generator = np.random.default_rng(1)
    by_test = by_interval = 0
    for _ in range(200):
        sides = generator.exponential(size=(2, 8))
        before, after = ([(float(one), 1.0) for one in side] for side in sides)
        by_test += paired_permutation(before, after) <= 0.05
        low, high = paired_bootstrap(before, after)
        by_interval += not low <= 0 <= high
    assert by_test <= 15
    assert by_interval >= 25


def clusters(generator, count, size):
    """Rows of groups that are right or wrong together, with a little noise."""
    chances = np.where(generator.random(count) < 0.7, 0.95, 0.05)
    rows = generator.random((count, size)) < chances[:, None]
    groups = [f"g{group}" for group in range(count) for _ in range(size)]
    return [(float(right), 1.0) for right in rows.ravel()], groups


def test_intervals_over_groups_cover_the_truth_where_those_over_rows_do_not():
    generator = np.random.default_rng(4)
    truth = 0.7 * 0.95 + 0.3 * 0.05
    over_groups = over_rows = 0
    for _ in range(60):
        ratios, groups = clusters(generator, 40, 8)
        low, high = share_interval(ratios, groups)
        over_groups += low <= truth <= high
        low, high = share_interval(ratios, [None] * len(ratios))
        over_rows += low <= truth <= high
    assert over_groups >= 52
    assert over_rows < 45


def test_rows_that_are_all_of_one_group_are_drawn_as_rows():
    """Draws of one group would all be the same: an interval without any width."""
    ratios = [(1.0, 1.0), (0.0, 1.0)] * 8
    assert bootstrap(ratios, ["g"] * 16) == bootstrap(ratios)
    assert share_interval(ratios, ["g"] * 16) == share_interval(ratios, [None] * 16)


def test_groups_of_one_row_change_nothing_for_a_bootstrap():
    ratios = [(float(v), 1.0) for v in np.random.default_rng(5).normal(size=50)]
    alone = [str(n) for n in range(50)]
    assert bootstrap(ratios, alone) == bootstrap(ratios, [None] * 50) == bootstrap(ratios)
    after = [(value + 1, 1.0) for value, _ in ratios]
    assert paired_bootstrap(ratios, after, alone) == paired_bootstrap(ratios, after)


def test_a_row_without_a_group_is_drawn_alone_and_order_of_rows_does_not_matter():
    ratios, groups = clusters(np.random.default_rng(6), 10, 5)
    mixed = [None if n >= 25 else group for n, group in enumerate(groups)]
    assert bootstrap(ratios, mixed) != bootstrap(ratios, groups)
    # The groups one row after another, in the order in which they come.
    turns = [group * 5 + row for row in range(5) for group in range(10)]
    assert bootstrap([ratios[n] for n in turns], [groups[n] for n in turns]) == bootstrap(ratios, groups)


def test_all_right_or_all_wrong_counts_groups_not_rows():
    groups = [f"g{n // 10}" for n in range(100)]
    assert share_interval([(1.0, 1.0)] * 100, groups) == wilson(10, 10)
    assert share_interval([(0.0, 1.0)] * 100, groups) == wilson(0, 10)
    assert share_interval([(0.0, 1.0)] * 100, [None] * 100) == wilson(0, 100)


def test_of_a_class_with_one_row_next_to_nothing_is_known():
    """A draw without it counts as an F1 of 0: that one row is right does not make its class sure."""
    rare = [(2.0, 2.0), *[(0.0, 0.0)] * 9]
    assert bootstrap(rare) == (0.0, 1.0)
    often = [(0.0, 0.0), *[(2.0, 2.0)] * 9]
    assert macro_bootstrap(np.asarray(list(zip(rare, often, strict=True)))) == (0.5, 1.0)


def test_of_a_class_that_is_never_right_the_mean_stays_what_it_is():
    """49 and 50 rows right, the one of a third class wrong: leaving that class out of a draw would raise the mean."""
    rows = [*[((2.0, 2.0), (0.0, 0.0), (0.0, 0.0))] * 49, *[((0.0, 0.0), (2.0, 2.0), (0.0, 0.0))] * 50]
    low, high = macro_bootstrap(np.asarray([*rows, ((0.0, 1.0), (0.0, 0.0), (0.0, 1.0))]))
    assert low > 0.65
    assert high < 0.67
