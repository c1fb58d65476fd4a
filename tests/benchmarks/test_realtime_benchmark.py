"""What the guide and the page say of deadlines is what the stored requests say."""

from __future__ import annotations

import json

from benchmarkscripts import BENCHMARKS, script

FOLDER = BENCHMARKS / "realtime"


def test_pages_follow_from_what_is_stored():
    module = script("realtime/run.py")
    stored = module.publishing.newest_results(FOLDER / "results")
    result = json.loads(stored.read_text(encoding="utf-8"))
    assert module.page(result) in (FOLDER / "README.md").read_text(encoding="utf-8")
    guide = module.in_short(result)
    assert guide in (BENCHMARKS.parent / "docs" / "guide" / "targets.md").read_text(encoding="utf-8")
    for report in result["reports"].values():
        measured = report["realtime"] or report["frames"]
        assert f"of this virtual machine took {measured['steal_share']:.1%}" in guide, "while it was asked"
