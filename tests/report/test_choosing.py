"""What is recommended, and why."""

from __future__ import annotations

import json

import pytest
from reportruns import FOUR, Made, write_evaluation, write_report_run

from edgetune.report.building import build
from edgetune.verification.record import FILE


def recommend(folder, *made, **options):
    return build(write_report_run(folder, made, **{"rows": 120, **options}).folder).recommendation


def verdicts(found):
    return {one.name: one.verdict for one in found.candidates}


def test_the_smallest_that_passes_is_recommended(report):
    found = report.recommendation
    assert (found.decision, found.artifact) == ("ship", "q8_0")
    assert found.headline.startswith("Ship q8_0: 100")
    assert "145" in found.headline
    assert verdicts(found) == {"f16": "passes", "q8_0": "recommended", "q4_k_m": "fails", "q2_k": "fails"}


def test_every_candidate_has_its_reason(report):
    why = {one.name: one.why for one in report.recommendation.candidates}
    assert "certainly worse than f16: exact_match -0.017" in why["q4_k_m"]
    assert "NOT verified: failed distributions, task" in why["q2_k"]
    assert "larger" in why["f16"]


def test_what_is_not_certainly_worse_may_be_smaller(tmp_path):
    """One row of 120 is chance: paired intervals hold zero."""
    made = (Made("q8_0", 145, 0.925), Made("q4_k_m", 105, 0.925 - 1 / 120))
    assert recommend(tmp_path / "run", *made).artifact == "q4_k_m"


def test_unverified_is_never_recommended_however_small_and_good(tmp_path):
    made = (Made("q8_0", 145, 0.9), Made("q4_k_m", 10, 0.99, verified=False), Made("q5_0", 20, 0.99, verified=None))
    found = recommend(tmp_path / "run", *made)
    assert found.artifact == "q8_0"
    assert verdicts(found) == {"q8_0": "recommended", "q4_k_m": "fails", "q5_0": "unknown"}


def test_a_verification_of_other_files_does_not_count(tmp_path):
    run = write_report_run(tmp_path / "run", (FOUR[1],), rows=60)
    stored = run.exports_folder / "q8_0" / FILE
    record = json.loads(stored.read_text())
    record["sha256"] = dict.fromkeys(record["sha256"], "0" * 64)
    stored.write_text(json.dumps(record))
    report = build(run.folder)
    assert report.recommendation.decision == "not yet"
    assert report.recommendation.next == "edgetune verify RUN/exports/q8_0"
    assert any("verify.json is left out" in warning for warning in report.warnings)


@pytest.mark.parametrize(("limits", "decision"), [({"length": 0.9}, "not yet"), ({}, "ship")])
def test_what_too_few_rows_could_not_decide_is_not_recommended(tmp_path, limits, decision):
    """Plain text has no answers, and so no limit: that stands in nobody's way."""
    run = write_report_run(tmp_path / "run", (FOUR[1],), rows=120)
    stored = run.exports_folder / "q8_0" / FILE
    record = json.loads(stored.read_text())
    record["checks"].append({"name": "endings", "passed": None, "text": "not judged", "limits": limits})
    stored.write_text(json.dumps(record))
    found = build(run.folder).recommendation
    assert found.decision == decision
    assert ("its endings could not be judged" in found.candidates[0].why) is (decision != "ship")


def test_nothing_passes(tmp_path):
    found = recommend(tmp_path / "run", Made("q4_k_m", 105, 0.9, verified=False), Made("q2_k", 80, 0.4, verified=False))
    assert (found.decision, found.artifact) == ("do not ship", None)
    assert found.headline == "Do not ship: no artifact passes"
    assert "q2_k: NOT verified" in found.reason


def test_too_little_of_the_gain(tmp_path):
    found = recommend(tmp_path / "run", Made("q4_0", 90, 0.8))
    assert found.decision == "do not ship"
    assert "of the gain is left" in found.candidates[0].why


def test_a_training_that_gained_nothing_ships_nothing(tmp_path):
    found = recommend(tmp_path / "run", Made("q8_0", 145, 0.925), base=0.925)
    assert found.headline == "Do not ship: training gained nothing that is sure"


def test_without_an_evaluation_the_verification_says_what_is_left(tmp_path):
    found = recommend(tmp_path / "run", Made("q8_0", 145, 0.925, evaluated=False))
    assert found.artifact == "q8_0"
    assert "its verification, 24 rows" in found.reason


def test_nothing_exported(tmp_path):
    found = recommend(tmp_path / "run")
    assert found.decision == "not yet"
    assert found.next.startswith("edgetune export RUN")


def test_not_verified_yet_is_not_a_no(tmp_path):
    found = recommend(tmp_path / "run", Made("q8_0", 145, 0.925, verified=None))
    assert found.decision == "not yet"
    assert found.headline == "Not yet: q8_0 is not verified"


def test_the_recipe_may_ask_for_another_share(tmp_path):
    run = write_report_run(tmp_path / "run", (Made("q4_0", 90, 0.8),), rows=120)
    recipe = run.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("min_retention: null", "min_retention: 0.5"))
    found = build(run.folder).recommendation
    assert found.artifact == "q4_0"
    assert "50" in found.rule[1]


def test_plain_text_is_judged_by_its_loss(tmp_path):
    run = write_report_run(tmp_path / "run", (FOUR[1],), rows=60)
    for path in (run.folder / "evaluations").iterdir():
        record = json.loads(path.read_text())
        record["scores"] = record["scores"][:2]
        for answer in record["answers"]:
            answer["ratios"], answer["correct"] = {"loss": answer["ratios"]["loss"]}, None
        path.write_text(json.dumps(record))
    report = build(run.folder)
    assert report.recommendation.artifact == "q8_0"
    assert "loss is" in report.recommendation.reason
    assert "misses" not in {section.id for section in report.sections}


@pytest.mark.parametrize("field", ["data_sha256", "weights_sha256"])
def test_a_stale_evaluation_is_left_out(tmp_path, field):
    run = write_report_run(tmp_path / "run", (FOUR[1],), rows=60)
    path = run.evaluation_file("smart-home-q8_0")
    record = json.loads(path.read_text())
    record["basis"][field] = "other"
    path.write_text(json.dumps(record))
    report = build(run.folder)
    assert any("smart-home-q8_0.json is left out" in warning for warning in report.warnings)
    assert any(one.command == "edgetune eval RUN/exports/q8_0" for one in report.missing)


def test_rows_in_common_are_compared(tmp_path):
    """The base on fewer rows than the others: figures side by side are of those rows."""
    run = write_report_run(tmp_path / "run", (FOUR[1],), rows=120)
    write_evaluation(run, "base", 0.0, 60)
    section = next(one for one in build(run.folder).sections if one.id == "task")
    rows = {row[0].text: row[2].value for row in section.charts[0].table.rows}
    assert set(rows.values()) == {60}
    found = build(run.folder).recommendation
    assert "on 120 held-out rows, the untuned base 0.000 on 60." in found.reason
    assert any("on 120 rows" in one.detail for one in found.key_figures)
    own = next(table for table in section.tables if table.id == "scores-own")
    assert {row[0].text: row[2].value for row in own.rows}["q8_0"] == 120
