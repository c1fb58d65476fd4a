"""Imports in the background."""

from __future__ import annotations

import sys
import time

from edgetune.extras import imported_meanwhile


def test_a_module_is_there_afterwards_and_a_missing_one_is_left_to_who_needs_it(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.2)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    started = time.monotonic()
    with imported_meanwhile("there_is_no_such_module", "slow_to_import"):
        entered = time.monotonic() - started
    assert entered < 0.2
    assert sys.modules.pop("slow_to_import").ready
