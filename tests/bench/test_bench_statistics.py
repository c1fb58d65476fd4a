import numpy as np
import pytest

from edgetune.bench.statistics import floor, mad, median, percentile, ratio, rounds_interval, student


@pytest.mark.parametrize(("percent", "fewest"), [(90, 29), (95, 59), (99, 299)])
def test_percentiles_are_null_below_their_floor_and_say_why(percent, fewest):
    assert floor(percent) == fewest
    too_few = percentile(list(range(fewest - 1)), percent)
    assert too_few.value is None
    assert too_few.reason == f"{fewest - 1} samples; p{percent} needs {fewest}"
    enough = percentile([float(n) for n in range(fewest)], percent)
    assert enough.reason is None
    assert enough.value == pytest.approx(percent / 100 * (fewest - 1))  # linear between samples


def test_the_floor_keeps_its_promise():
    # with n samples the largest lies above the quantile with at least 95 %, with n - 1 it does not
    for percent in (50, 90, 95, 99):
        n = floor(percent)
        assert 1 - (percent / 100) ** n >= 0.95 > 1 - (percent / 100) ** (n - 1)


def test_one_outlier_moves_neither_median_nor_mad():
    calm, wild = [1.0, 1.1, 0.9, 1.0, 1.05], [1.0, 1.1, 0.9, 1.0, 100.0]
    assert median(calm) == median(wild) == 1.0
    assert mad(wild) <= 0.1


def processes(random, rounds, *, between=0.01, within=0.05, centre=1.0):
    """Medians of rounds whose processes differ by themselves, as real ones do."""
    return [
        float(np.median(centre * np.exp(random.normal(0, between) + random.normal(0, within, 100))))
        for _ in range(rounds)
    ]


@pytest.mark.parametrize("paired", [True, False])
def test_equal_things_seldom_differ_and_five_percent_is_seen(paired):
    random = np.random.default_rng(7)
    alarms = seen = 0
    for _ in range(300):
        old, same, slow = processes(random, 5), processes(random, 5), processes(random, 5, centre=1.05)
        alarms += ratio(old, same, paired=paired).differs
        seen += ratio(old, slow, paired=paired).differs
    assert alarms <= 300 * 0.08
    assert seen >= 300 * 0.95


def test_drawing_single_tokens_would_cry_wolf():
    random = np.random.default_rng(3)
    pooled = by_rounds = 0
    for trial in range(30):
        rounds = [(random.normal(1, 0.02) + random.normal(0, 0.01, 20)).tolist() for _ in range(5)]
        low, high = rounds_interval([[value] for some in rounds for value in some], seed=trial)
        pooled += low <= 1 <= high
        low, high = rounds_interval(rounds, seed=trial)
        by_rounds += low <= 1 <= high
    assert pooled < 20
    assert by_rounds >= 24


def test_a_common_drift_does_not_hide_a_difference_of_pairs():
    drift = np.exp(np.linspace(0, 0.3, 6))
    old, new = drift, drift * 1.05 * np.exp([0.001, -0.001, 0.002, 0.0, -0.002, 0.001])
    assert ratio(old.tolist(), new.tolist(), paired=True).low > 1.04
    assert not ratio(old.tolist(), new.tolist(), paired=False).differs


@pytest.mark.parametrize(
    ("quantile", "freedom", "expected"), [(0.975, 4, 2.7764), (0.9995, 8, 5.0413), (0.975, 1.5, 6.0763)]
)
def test_students_quantiles(quantile, freedom, expected):
    # the first two from tables; for 1.5 the distribution function is integrated afresh below
    found = student(quantile, freedom)
    if freedom != 1.5:
        assert found == pytest.approx(expected, rel=1e-3)
        return
    grid = np.linspace(-np.pi / 2, np.arctan(found / np.sqrt(freedom)), 1_000_001)[1:]
    whole = np.linspace(-np.pi / 2, np.pi / 2, 1_000_001)[1:-1]
    area = np.trapezoid(np.cos(grid) ** (freedom - 1), grid) / np.trapezoid(np.cos(whole) ** (freedom - 1), whole)
    assert area == pytest.approx(quantile, abs=1e-4)
