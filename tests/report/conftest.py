"""A run with four artifacts and its report, made once."""

from __future__ import annotations

import pytest
from reportruns import write_report_run

from edgetune.report.building import build


@pytest.fixture(scope="session")
def four(tmp_path_factory):
    return write_report_run(tmp_path_factory.mktemp("report") / "four")


@pytest.fixture(scope="session")
def report(four):
    return build(four.folder)
