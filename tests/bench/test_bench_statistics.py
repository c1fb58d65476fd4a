import numpy as np
import pytest

from edgetune.bench.statistics import floor, mad, median, median_interval, percentile


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


def test_the_interval_covers_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(100):
        low, high = median_interval(random.normal(10, 1, 40).tolist(), seed=trial)
        covered += low <= 10 <= high
    assert covered >= 88


def test_two_samples_have_no_interval():
    assert median_interval([1.0, 2.0]) is None
