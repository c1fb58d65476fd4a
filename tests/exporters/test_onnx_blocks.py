"""Rounding a few rows as ONNX Runtime's quantiser does."""

from __future__ import annotations

import numpy as np
import pytest
from edgetune_onnx.blocks import rounded_values
from edgetune_onnx.precision import parse_precision


@pytest.mark.parametrize("name", ["int4", "int4_rtn", "int8"])
def test_rows_come_back_rounded_and_nothing_is_printed(name, capfd):
    """The quantiser that searches for scales prints a bar, which would stand among results as JSON."""
    precision = parse_precision(name)
    values = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    bits = 8 if name == "int8" else 4
    found = rounded_values(values, precision, bits)
    assert found.shape == values.shape
    error = np.linalg.norm(found - values) / np.linalg.norm(values)
    assert 0 < error < (0.012 if bits == 8 else 0.13)
    assert capfd.readouterr() == ("", "")
