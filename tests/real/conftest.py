"""One run of SmolLM2 for each file of tests: they change it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from realruns import smollm2_run

    return smollm2_run(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def verifier(run):
    from edgetune.verification.record import Depth
    from edgetune.verification.verify import Verifier

    return Verifier(run, depth=Depth(rows=6, answers=6))
