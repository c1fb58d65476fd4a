"""``edgetune eval`` as a person meets it."""

from __future__ import annotations

import json

from edgetune.cli import main
from edgetune.evaluation.metrics import METRICS


def test_table_definitions_and_misses_on_stdout(make_run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    run = make_run()
    assert main(["eval", str(run.folder), "--limit", "3", "--misses", "2"]) == 0
    out, err = capsys.readouterr()
    for expected in (
        "3 rows, torch",
        "exact_match",
        METRICS["exact_match"][0].definition,
        "mean -ln p over all answer tokens",
        "base → tuned on 3 rows",
        "exact McNemar test: p = 1",
        "the 2 worst of 3 misses of 'tuned'",
        "expected  ",
        "base      ",
    ):
        assert expected in out
    assert "error" not in err


def test_json_is_one_object_on_stdout_with_every_answer(make_run, capsys):
    run = make_run()
    assert main(["eval", str(run.folder), "--limit", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [e["subject"] for e in found["evaluations"]] == ["base", "tuned"]
    assert [len(e["answers"]) for e in found["evaluations"]] == [2, 2]
    assert found["comparisons"][0]["n"] == 2


def test_no_misses_on_request(make_run, capsys):
    run = make_run()
    assert main(["eval", str(run.folder), "--limit", "2", "--misses", "0", "--no-base"]) == 0
    assert "misses" not in capsys.readouterr().out


def test_a_model_without_data_is_one_message(base_folder, capsys):
    assert main(["eval", str(base_folder)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error:") == 1
    assert "hint: give rows: --data FILE" in err


def test_a_subject_that_is_nothing_is_one_message(tmp_path, capsys):
    assert main(["eval", str(tmp_path / "nothing"), "--data", "x.jsonl"]) == 5
    assert "no such model" in capsys.readouterr().err
