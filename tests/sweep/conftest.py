from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from layergradients import llama

from edgetune.data.advice import Advice
from edgetune.sensitivity.record import Sensitivity, Suggestion

HELPERS = Path(__file__).parent.parent / "helpers"


@pytest.fixture
def suggestion():
    """For a Llama of four blocks: attention alone, at rank 4."""
    layers = llama(4, q_proj=1.0)
    sensitivity = Sensitivity(
        recipe="tiny",
        base_sha256="b",
        base_source="base",
        data_sha256="d",
        rows=16,
        groups=4,
        heads=0,
        seed=0,
        device="cpu",
        dtype="float32",
        seconds=1.0,
        layers=layers,
    )
    changes = (Advice("method.target_modules", ("self_attn.q_proj",), "why"), Advice("method.rank", 4, "why"))
    return Suggestion(sensitivity=sensitivity, changes=changes, created="2026-01-01T00:00:00+00:00", edgetune="0")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    import tinyclassifier

    return tinyclassifier.write_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(autouse=True)
def _children_find_the_helpers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *sys.path]))
