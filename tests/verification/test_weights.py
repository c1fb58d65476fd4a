"""Each figure tells its own fault from rounding."""

from __future__ import annotations

import numpy as np
import pytest

from edgetune.readback import TensorPair, Trained
from edgetune.verification.weight_check import check_weights
from edgetune.verification.weights import compare_tensors

RANDOM = np.random.default_rng(0)
BASE = RANDOM.normal(size=(64, 96)).astype(np.float32)
ROUNDING = (0.1 * RANDOM.normal(size=BASE.shape)).astype(np.float32)
DELTA = (0.1 * RANDOM.normal(size=(64, 2)) @ RANDOM.normal(size=(2, 96))).astype(np.float32)
NOISE = (0.004 * RANDOM.normal(size=BASE.shape)).astype(np.float32)


def finding(stored, kind="Q8_0", rounded=None):
    trained = Trained(BASE - ROUNDING + DELTA, BASE - ROUNDING, BASE)
    return compare_tensors(TensorPair("w", kind, lambda: stored, lambda: trained, rounded=rounded))


def test_rounding_alone():
    found = finding(BASE - ROUNDING + DELTA + NOISE)
    assert found.error == pytest.approx(0.004, rel=0.1)
    assert found.kept.value == pytest.approx(1, abs=4 * found.kept.error)
    assert found.residue.value == pytest.approx(0, abs=4 * found.residue.error)
    assert check_weights([found]).passed


@pytest.mark.parametrize(
    ("stored", "kept", "residue", "cause"),
    [
        (BASE - ROUNDING, 0, 0, "left out"),
        (BASE - ROUNDING + DELTA / 2, 0.5, 0, "another scale"),
        (BASE + DELTA, 1, 1, "16-bit base"),
    ],
)
def test_faults(stored, kept, residue, cause):
    found = finding(stored + NOISE)
    assert found.kept.value == pytest.approx(kept, abs=0.02)
    assert found.residue.value == pytest.approx(residue, abs=0.02)
    check = check_weights([found])
    assert check.passed is False
    assert cause in check.cause


def test_many_layers_tell_what_one_cannot():
    """A share 3 % too small: within what Q4_0 may do to one layer, not to forty."""
    noise = [(0.08 * np.random.default_rng(n).normal(size=BASE.shape)).astype(np.float32) for n in range(40)]
    one = [finding(BASE - ROUNDING + DELTA + n, "Q4_0") for n in noise]
    less = [finding(BASE - ROUNDING + 0.92 * DELTA + n, "Q4_0") for n in noise]
    assert check_weights(one).passed
    assert check_weights(less[:1]).passed
    assert any("all Q4_0 tensors together" in problem for problem in check_weights(less).problems)


def amplifying(values):
    """A quantiser with wide steps, that lets all values come out a little too large."""
    return (np.round(values * 8) / 8 * 1.05).astype(np.float32)


def test_what_a_known_quantiser_does_is_no_fault_and_what_it_does_not_is_one():
    sound = amplifying(BASE - ROUNDING + DELTA)
    assert check_weights([finding(sound, "Q4_0", amplifying)]).passed
    assert finding(sound, "Q4_0", amplifying).unlike == pytest.approx(0, abs=1e-6)
    other = check_weights([finding(amplifying(BASE - ROUNDING + 0.99 * DELTA), "Q4_0", amplifying)])
    assert other.passed is False
    assert "is not what Q4_0 makes of the trained weights" in other.problems[0]
    assert "another adapter" in other.cause


def test_what_cannot_be_compared_is_a_problem():
    nan = np.full_like(BASE, np.nan)
    check = check_weights([finding(nan), compare_tensors(TensorPair("v", "", problem="missing"))])
    assert check.problems == ("w: holds values that are not finite numbers", "v: missing")


def test_a_tensor_without_an_adapter_has_an_error_only():
    found = compare_tensors(TensorPair("w", "F16", lambda: BASE, lambda: Trained(BASE)))
    assert (found.error, found.kept, found.residue) == (0, None, None)
    zero = np.zeros_like(BASE)
    assert compare_tensors(TensorPair("w", "F16", lambda: zero, lambda: Trained(zero))).error == 0
