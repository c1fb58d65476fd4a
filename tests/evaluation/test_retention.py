"""The share of the gain that is left, where rows say little."""

import pytest
from reportruns import write_evaluation, write_report_run

from edgetune.evaluation.retention import retention


def left(run, rows, exported):
    base = write_evaluation(run, "base", 0.0, rows)
    tuned = write_evaluation(run, "tuned", 1.0, rows)
    return retention(base, tuned, write_evaluation(run, "x", exported, rows), "exact_match")


@pytest.fixture
def run(tmp_path):
    return write_report_run(tmp_path / "run", (), rows=24)


@pytest.mark.parametrize(("rows", "low"), [(24, 0.883), (60, 0.951)])
def test_agreement_on_every_row_is_no_certainty(run, rows, low):
    """0.05^(1/n): of few rows a good share can be lost unseen."""
    found = left(run, rows, 1.0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(low, abs=0.001)


def test_where_rows_differ_it_is_the_bootstrap(run):
    found = left(run, 60, 0.9)
    assert found.value == pytest.approx(0.9)
    assert 0.75 < found.low < 0.9 < found.high < 1.0
