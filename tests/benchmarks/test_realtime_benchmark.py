"""What the guide and the page say of deadlines is what the stored requests say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "realtime"


def test_pages_follow_from_what_is_stored(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_realtime", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts its own folder there
    spec.loader.exec_module(module)
    stored = module.publishing.newest_results(FOLDER / "results")
    result = json.loads(stored.read_text(encoding="utf-8"))
    assert module.page(result) in (FOLDER / "README.md").read_text(encoding="utf-8")
    guide = module.in_short(result)
    assert guide in (ROOT / "docs" / "guide" / "targets.md").read_text(encoding="utf-8")
    for report in result["reports"].values():
        assert f"of this virtual machine took {report['realtime']['steal_share']:.1%}" in guide, "of its requests"
