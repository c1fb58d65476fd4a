"""Which sections there are, and what stands in them."""

from __future__ import annotations

import json
import shutil

import pytest
from reportruns import FOUR, Made, write_evaluation, write_report_run

from edgetune.errors import EdgetuneError
from edgetune.report.building import build
from edgetune.report.record import Report

ALL = ["task", "tradeoffs", "latency", "memory", "verification", "misses", "training", "environment"]


def ids(report):
    return [section.id for section in report.sections]


def section(report, name):
    return next(one for one in report.sections if one.id == name)


def test_all_sections_in_order(report):
    assert ids(report) == ALL
    assert [one.command for one in report.missing] == [
        (
            "edgetune bench RUN/exports/q8_0 --target voice-assistant "
            "--output RUN/bench/smart-home-q8_0-voice-assistant.json"
        ),
        (
            "edgetune bench RUN/exports/q8_0 --decode-threads 2,1,4 --prefill-threads 2,1,4 "
            "--output RUN/bench/smart-home-q8_0-threads.json"
        ),
        "edgetune device project RUN/exports/q8_0 --device raspberry-pi-5",
    ]
    assert report.warnings == ()


def test_a_report_is_what_it_was_stored_as(report):
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_every_chart_has_data_and_words(report):
    charts = list(report.charts)
    assert len(charts) >= 8
    assert len({chart.id for chart in charts}) == len(charts)
    for chart in charts:
        assert chart.table.rows, chart.id
        assert chart.alt, chart.id
        assert chart.x_label, chart.id


def test_rows_are_as_wide_as_their_headings(report):
    for _, table in report.tables:
        assert {len(row) for row in table.rows} <= {len(table.columns)}, table.id


def test_every_figure_of_the_bench_has_its_definition(report):
    found = section(report, "latency")
    figures = next(table for table in found.tables if table.id == "bench-figures")
    assert {row[0].text for row in figures.rows} == {one.word for one in found.definitions}


def test_percentiles_without_enough_samples_say_so(report):
    chart = next(chart for chart in report.charts if chart.id == "latency-ttft")
    p99 = chart.table.rows[0][6]
    assert p99.value is None
    assert "60 samples" in p99.reason


def test_the_front_leaves_out_what_is_unverified_or_beaten(report):
    chart = next(chart for chart in report.charts if chart.id == "front-size")
    assert {row[0].text: row[3].text for row in chart.table.rows} == {
        "f16": "beaten by q8_0",
        "q8_0": "on the front",
        "q4_k_m": "on the front",
        "q2_k": "unverified",
    }
    assert [one.hollow for one in chart.series] == [True, False, False, True]


def test_a_benchmark_under_other_conditions_is_not_compared(tmp_path):
    made = (*FOUR[:2], Made("q4_k_m", 105, 0.9, threads=1))
    found = section(build(write_report_run(tmp_path / "run", made, rows=60).folder), "tradeoffs")
    assert [one.name for one in found.charts[0].series] == ["f16", "q8_0"]
    assert "q4_k_m was measured otherwise and is not compared: threads 1 instead of 2." in found.notes


def test_one_artifact_has_no_front(tmp_path):
    report = build(write_report_run(tmp_path / "run", FOUR[1:2], rows=60).folder)
    assert section(report, "tradeoffs").charts == ()
    assert any("second precision" in one.what for one in report.missing)


def test_the_first_table_has_what_users_get_and_not_what_others_were_asked(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[1:3], rows=60)
    report = build(run.folder)
    assert report.overview.caption.startswith("Artifacts, asked 60 rows; medians")
    weights = json.loads(run.evaluation_file("smart-home-q4_k_m").read_text())["basis"]["weights_sha256"]
    write_evaluation(run, "smart-home-q4_k_m", 1.0, 40, weights=weights)
    report = build(run.folder)
    assert report.overview.caption.startswith("Artifacts, asked 60 rows (q8_0), 40 rows (q4_k_m); medians")
    scores = {row[0].text: row[2].value for row in report.overview.rows}
    assert scores["q8_0"] == pytest.approx(0.925, abs=0.01)
    shared = next(table for _, table in report.tables if table.caption.startswith("All figures on the 40 rows"))
    of_shared = {row[0].text: row[5].value for row in shared.rows}
    assert of_shared["q8_0"] != scores["q8_0"]
    assert scores["q4_k_m"] == of_shared["q4_k_m"] == 1.0


def test_one_evaluated_of_several_is_not_called_the_only_one(tmp_path):
    made = (*FOUR[1:2], Made("q4_k_m", 105, 0.9, evaluated=False), Made("q2_k", 80, 0.5, evaluated=False))
    report = build(write_report_run(tmp_path / "run", made, rows=60).folder)
    assert section(report, "tradeoffs").lead.startswith("Only q8_0 is evaluated, of 3 artifacts")


def test_notes_on_intervals_say_whose_they_are(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[1:2], rows=60)
    write_evaluation(run, "base", 0.02, 40, tokens=64)
    notes = [note for note in section(build(run.folder), "task").notes if "95 % intervals" in note]
    assert [note.partition(", a bootstrap")[0] for note in notes] == [
        "[ ] are 95 % intervals. untuned base, tuned, torch, q8_0: on the 40 rows that all have",
        "[ ] are 95 % intervals. tuned, torch, q8_0: on all its 60 rows",
    ]


def test_what_is_absent_is_left_out_and_named(tmp_path):
    made = (Made("q8_0", 145, 0.9, verified=None, threads=None, evaluated=False), FOUR[0])
    run = write_report_run(tmp_path / "run", made, rows=60)
    shutil.rmtree(run.exports_folder / "f16")
    (run.folder / "bench" / "smart-home-f16.json").unlink()
    run.metrics_file.unlink()
    for name in ("base", "tuned", "smart-home-f16"):
        run.evaluation_file(name).unlink()
    report = build(run.folder)
    assert ids(report) == ["environment"]
    assert {one.command for one in report.missing} == {
        "edgetune eval RUN",
        "edgetune eval RUN --no-base",
        "edgetune export RUN --format gguf --quant q4_k_m",
        "edgetune eval RUN/exports/q8_0",
        "edgetune verify RUN/exports/q8_0",
        "edgetune bench RUN/exports/q8_0 --output RUN/bench/smart-home-q8_0.json",
    }


def test_commands_exist(tmp_path, report):
    """What a report names can be run."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("documents", Path(__file__).parents[1] / "test_docs.py")
    documents = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(documents)
    made = Made("q8_0", 145, 0.9, verified=None, threads=None, evaluated=False)
    run = write_report_run(tmp_path / "run", (made,), rows=60)
    for name in ("base", "tuned"):
        run.evaluation_file(name).unlink()
    commands = [one.command for one in build(run.folder).missing] + [one.command for one in report.missing]
    run.update_manifest(state="training")
    commands += [one.command for one in build(run.folder).missing]
    assert len(commands) == 10
    for command in commands:
        documents.check_command(command.split()[1:])


def test_damaged_files_are_told_and_left_out(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:2], rows=60)
    (run.folder / "bench" / "smart-home-q8_0.json").write_text("{")
    run.evaluation_file("tuned").write_text("[]")
    (run.folder / "ladder.json").write_text("{}")
    run.merge_file.write_text("{}")
    (run.exports_folder / "f16" / "verify.json").write_text("nonsense")
    report = build(run.folder)
    told = " ".join(report.warnings)
    for name in (
        "bench/smart-home-q8_0.json",
        "evaluations/tuned.json",
        "ladder.json",
        "merge.json",
        "exports/f16/verify.json",
    ):
        assert f"{name} is left out" in told
    assert str(tmp_path) not in report.model_dump_json()


def test_a_benchmark_of_former_files_is_told(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:2], rows=60)
    path = run.folder / "bench" / "smart-home-q8_0.json"
    record = json.loads(path.read_text())
    record["subject"]["sha256"] = "f" * 64
    path.write_text(json.dumps(record))
    report = build(run.folder)
    assert any("smart-home-q8_0" in warning and "other files" in warning for warning in report.warnings)


def test_folders_of_this_machine_are_not_told(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:1], rows=60)
    run.update_manifest(base_source="/home/somebody/models/small", base_folder="/home/somebody/cache")
    text = build(run.folder).model_dump_json()
    assert "somebody" not in text
    assert str(tmp_path) not in text


def test_the_same_evidence_gives_the_same_report(four, report):
    assert build(four.folder) == report


def test_no_run_no_report(tmp_path):
    with pytest.raises(EdgetuneError, match="not a run folder"):
        build(tmp_path)


def test_ladder_and_merge(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:2], rows=60)
    ladder = {
        "run": "run", "format": "gguf", "limits": {"max_bytes": 150_000_000}, "chosen": "exports/q8_0",
        "created": "2026-01-02T00:00:00+00:00", "edgetune": "0.1.0",
        "rungs": [
            {"name": "q4_0", "size_bytes": 9e7, "verdict": "not verified", "why": "distributions", "written": True},
            {"name": "q8_0", "size_bytes": 145e6, "verdict": "ships", "why": "1.000 of the gain is left", "kl": 1e-4,
             "retention": 1.0, "retention_interval": [0.98, 1.0], "written": True},
        ],
    }  # fmt: skip
    score = {"name": "loss", "value": 0.1, "low": 0.09, "high": 0.11, "n": 60, "definition": "nats"}
    difference = {"name": "loss", "before": 0.1, "after": 0.12, "low": 0.01, "high": 0.03}
    merge = {
        "run": "run", "trained_against": "nf4", "weights_sha256": "w", "data_sha256": "d", "rows": 60, "groups": None,
        "forms": [
            {"name": "unmerged", "scores": [score]},
            {"name": "nf4", "scores": [score], "differences": [difference], "lost": 2, "gained": 1},
        ],
        "rounding": None, "chosen": "nf4", "reason": "it is what was trained", "rule": "the closest", "output": None,
        "created": "2026-01-03T00:00:00+00:00", "seconds": 1.0, "edgetune": "0.1.0",
    }  # fmt: skip
    (run.folder / "ladder.json").write_text(json.dumps(ladder))
    run.merge_file.write_text(json.dumps(merge))
    report = build(run.folder)
    assert report.warnings == ()
    assert "q8_0" in section(report, "ladder").lead
    assert "150" in section(report, "ladder").lead
    assert "it is what was trained" in section(report, "merge").lead
    assert report.evidence_until == "2026-01-03T00:00:00+00:00"


def test_an_export_is_no_run(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[1:2], rows=60)
    with pytest.raises(EdgetuneError, match=r"is not a run folder: manifest\.json is of something else"):
        build(run.exports_folder / "q8_0")
