"""Markdown, CSV, JSON, and what the command writes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys

import pytest
from reportruns import FOUR, write_report_run

from edgetune.cli import main
from edgetune.report.csvtext import COLUMNS, to_csv
from edgetune.report.markdown import escape, to_markdown
from edgetune.report.record import Report
from edgetune.report.writing import write_report


def test_markdown_has_every_table(report):
    text = to_markdown(report)
    assert text.startswith("# smart-home: Ship q8\\_0: 100")
    for _, table in report.tables:
        assert f"**{escape(table.caption)}**" in text


def test_markdown_tables_are_whole(report):
    lines = to_markdown(report).splitlines()
    for before, line in itertools.pairwise(lines):
        if line.startswith("|---"):
            assert before.replace("\\|", "").count("|") == line.count("|")


def test_markdown_makes_nothing_of_what_models_say():
    assert escape("![x](http://h) <script> `a` | # ~~b~~") == (
        "\\!\\[x\\](http://h) \\<script\\> \\`a\\` \\| \\# \\~\\~b\\~\\~"
    )


def test_csv_has_every_cell(report):
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert set(rows[0]) == set(COLUMNS)
    cells = sum(len(row) - 1 for _, table in report.tables for row in table.rows)
    assert len(rows) == cells + 3
    found = [row for row in rows if (row["table"], row["row"], row["column"]) == ("overview", "q8_0", "exact_match")]
    assert float(found[0]["value"]) == pytest.approx(0.925)
    assert float(found[0]["low"]) < 0.925 < float(found[0]["high"])


def test_csv_is_no_formula(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[1:2], rows=60)
    path = run.evaluation_file("smart-home-q8_0")
    record = json.loads(path.read_text())
    for answer in record["answers"]:
        if not answer["correct"]:
            answer["prediction"] = '=HYPERLINK("x")'
    path.write_text(json.dumps(record))
    from edgetune.report.building import build

    texts = [row["text"] for row in csv.DictReader(io.StringIO(to_csv(build(run.folder))))]
    assert '\'=HYPERLINK("x")' in texts
    assert not [text for text in texts if text.startswith(("=", "@", "+"))]


def test_the_command_writes_a_folder(four, tmp_path, capsys):
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    assert main(["report", str(four.folder), "--output", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target / "report.html")
    stored = Report.model_validate_json((target / "report.json").read_text())
    pictures = sorted(path.stem for path in (target / "charts").iterdir())
    assert pictures == sorted(chart.id for chart in stored.charts)
    assert (target / "charts" / f"{pictures[0]}.png").read_bytes().startswith(b"\x89PNG")
    assert (target / "mine.txt").read_text() == "mine"


def test_written_twice_it_is_the_same(four, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    write_report(four.folder, first)
    write_report(four.folder, second)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == []


def test_charts_of_a_former_report_go(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:2], rows=60)
    write_report(run.folder)
    charts = run.folder / "report" / "charts"
    (charts / "holiday.png").write_text("mine")
    assert (charts / "training-loss.png").is_file()
    run.metrics_file.unlink()
    write_report(run.folder)
    assert not (charts / "training-loss.png").exists()
    assert (charts / "holiday.png").is_file()


@pytest.mark.parametrize(("format", "begins"), [("md", "# smart-home"), ("json", "{"), ("csv", "section,table")])
def test_other_formats_are_printed(four, tmp_path, capsys, format, begins):
    assert main(["report", str(four.folder), "--format", format]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(begins)
    file = tmp_path / "file"
    assert main(["report", str(four.folder), "--format", format, "--output", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    assert file.read_text() == printed


def test_json_is_the_report(four, report, capsys):
    main(["report", str(four.folder), "--format", "json"])
    assert Report.model_validate_json(capsys.readouterr().out) == report


def test_without_matplotlib_one_sentence_is_said(four, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(four.folder), "--output", str(tmp_path / "out")]) == 0
    assert "pip install 'edgetune[report]'" in capsys.readouterr().err
    assert not (tmp_path / "out" / "charts").exists()


def test_no_run(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "not a run folder" in capsys.readouterr().err
