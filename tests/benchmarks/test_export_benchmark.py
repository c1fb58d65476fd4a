"""The export benchmark's own parts: the model it builds, how it measures a process, what it concludes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgetune.adapters.lora import read_adapter
from edgetune.adapters.merging import MergedWeights
from edgetune.errors import EdgetuneError
from edgetune.models.weights import count_parameters, weight_files

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GB = 1_000_000_000


@pytest.fixture
def export(monkeypatch):
    """Its modules by name; scripts, so they are forgotten again."""
    before = dict(sys.modules)
    for folder in (BENCHMARKS, BENCHMARKS / "export"):
        monkeypatch.syspath_prepend(folder)
    names = ("model", "measured", "stages", "tables")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name, module in list(sys.modules.items()):
        if name not in before and str(getattr(module, "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_the_model_has_the_stated_size_and_the_adapter_fits_it(export, tmp_path, monkeypatch):
    model = export.model
    assert round(model.FULL.parameters / 1e9, 2) == 1.07
    monkeypatch.setattr(model, "_copy_tokenizer", lambda _: None)
    monkeypatch.setattr(model, "SHARD_BYTES", 26_000_000)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model.make_base(base, model.TINY)
    model.make_adapter(adapter, base, model.TINY)
    assert count_parameters(base) == model.TINY.parameters
    assert len(weight_files(base)) > 1
    weights = MergedWeights(base, adapter)
    assert len(read_adapter(adapter).changes) == 7 * model.TINY.layers
    for name in weights.changed:
        change, merged = weights.change(name), weights.read(name)
        assert (change**2).sum() ** 0.5 / (merged**2).sum() ** 0.5 == pytest.approx(model.CHANGE, rel=0.3)


def test_a_process_is_measured_from_outside(export, tmp_path):
    code = "import time; held = bytearray(80_000_000); time.sleep(0.3)"
    cost = export.measured.run([sys.executable, "-c", code], {}, tmp_path / "holds.log")
    assert 0.3 <= cost.seconds < 30
    assert 80e6 <= cost.anonymous_bytes <= cost.peak_bytes < 200e6
    with pytest.raises(EdgetuneError, match="fails failed") as caught:
        export.measured.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], {}, tmp_path / "fails.log")
    assert caught.value.problems == ("why",)


def one(contender, stage, seconds, peak):
    memory = {"peak_bytes": peak, "anonymous_bytes": peak, "others_cpu_share": 0.0, "written_bytes": 1}
    return {"contender": contender, "stage": stage, "turn": 0, "seconds": seconds, **memory}


def test_the_fastest_way_of_the_chain_counts_with_its_largest_process(export):
    runs = [
        one("chain", "merge", 20, 3 * GB),
        one("chain", "convert to q8_0", 40, GB),
        one("chain", "convert to bf16", 10, GB),
        one("chain", "quantise to q8_0", 5, GB),
        one("chain", "quantise to q4_k_m", 60, GB),
        one("edgetune", "q8_0", 10, GB // 2),
        one("edgetune", "q4_k_m", 75, GB),
    ]
    result = {"settings": {"turns": 1}, "runs": runs}
    found = export.tables.fastest(result, "q8_0")
    assert found.stages == ("merge", "convert to bf16", "quantise to q8_0")
    assert (found.seconds, found.peak) == ((35,), 3 * GB)
    assert export.tables._verdicts(result).splitlines()[2:] == [
        "- q8_0: at least 3 times faster: met",
        "- q8_0: at most 0.25 of the chain's peak: met",
        "- q4_k_m: at least 1.5 times faster: **missed**",
        "- q4_k_m: at most 0.25 of the chain's peak: **missed**",
    ]
