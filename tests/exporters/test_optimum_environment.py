"""Without its environment, Optimum's exporter says how to get one."""

import pytest
from edgetune_optimum import OptimumExporter
from edgetune_optimum.environment import VARIABLE

from edgetune.errors import ExportError


def test_no_environment_is_one_message(tmp_path, tiny, monkeypatch):
    tiny.save_model(tmp_path / "base", "Llama")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere/python"))
    with pytest.raises(ExportError, match=r"no .*nowhere/python") as caught:
        OptimumExporter().plan(tiny.tuned(tmp_path / "base"), "fp32")
    assert "make optimum-env" in caught.value.hint


def test_only_floats():
    assert OptimumExporter().precision("FP32") == OptimumExporter().precision("fp32_optimum") == "fp32_optimum"
    with pytest.raises(ExportError, match="not for int8"):
        OptimumExporter().precision("int8")
