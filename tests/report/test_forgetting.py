"""What is stored of general ability, in the report."""

from __future__ import annotations

import shutil

import pytest

from edgetune.evaluation.subjects import artifact_opening, tuned_opening
from edgetune.general.figures import with_scores
from edgetune.general.record import Choice, GeneralBasis, GeneralEvaluation, Read, file_name, store
from edgetune.report.building import build
from edgetune.run import open_run
from edgetune.runtimes.choosing import run_exports


@pytest.fixture
def run(four, tmp_path):
    return open_run(shutil.copytree(four.folder, tmp_path / "run"))


def put(run, subject, weights, right, *, runtime="torch", created="2026-01-01T00:00:00+00:00", mark=""):
    """Store ten questions, the first ``right`` of them answered right, and two passages."""
    basis = GeneralBasis(
        weights_sha256=weights,
        data_sha256={"piqa": "a" + mark, "siqa": "b", "text": "c"},
        rows={"piqa": tuple(range(5)), "siqa": tuple(range(5)), "text": (0, 1)},
        metrics={"piqa": "acc_norm", "siqa": "acc"},
        runtime=runtime,
        edgetune="0",
    )
    choices = tuple(
        Choice(
            task=("piqa", "siqa")[number // 5],
            row=number % 5,
            log_likelihoods=(-1.0, -2.0),
            characters=(3, 3),
            answer=int(number >= right),
        )
        for number in range(10)
    )
    passages = tuple(Read(row=row, log_likelihood=-10.0 - right, bytes=20, words=4) for row in (0, 1))
    made = GeneralEvaluation(
        subject=subject, basis=basis, created=created, seconds=1.0, scores=(), choices=choices, passages=passages
    )
    store(run.evaluation_file(file_name(subject, mark)), with_scores(made))


def section(run):
    return next((one for one in build(run.folder).sections if one.id == "forgetting"), None)


def test_nothing_stored_gives_no_section(run):
    assert section(run) is None


def test_base_tuned_and_artifact_side_by_side(run):
    artifact = run_exports(run)[0]
    put(run, "base", run.manifest.base_sha256, 9)
    put(run, "tuned", tuned_opening(run).weights_sha256, 4)
    put(run, artifact.name, artifact_opening(artifact).weights_sha256, 3, runtime="llama.cpp")
    found = section(run)
    assert "Of 10 questions besides the task, 0.900 (base) → 0.400 (tuned)" in found.lead
    scores, moves = found.tables
    heads = [column.name for column in scores.columns]
    assert heads == ["figure", "items", "base (torch)", "tuned (torch)", f"{artifact.name} (llama.cpp)"]
    together = next(row for row in scores.rows if row[0].text == "all questions")
    assert [cell.value for cell in together[1:]] == [10, 0.9, 0.4, 0.3]
    assert {row[0].text for row in moves.rows} == {"base → tuned", f"base → {artifact.name}"}
    assert any("llama.cpp" in note for note in found.notes)
    assert {one.word for one in found.definitions} == {row[0].text for row in scores.rows}


def test_of_other_weights_or_damaged_is_left_out(run):
    put(run, "base", run.manifest.base_sha256, 9)
    put(run, "tuned", "others", 4)
    run.evaluation_file("general-x").write_text("{}")
    found = section(run)
    assert "base or tuned model is missing" in found.lead
    assert len(found.tables) == 1


def test_only_the_questions_asked_last_are_shown(run):
    put(run, "base", run.manifest.base_sha256, 9)
    put(run, "tuned", tuned_opening(run).weights_sha256, 4)
    later = {"created": "2026-02-01T00:00:00+00:00", "mark": "own"}
    put(run, "base", run.manifest.base_sha256, 8, **later)
    put(run, "tuned", tuned_opening(run).weights_sha256, 8, **later)
    assert "0.800 (base) → 0.800 (tuned), which could be chance" in section(run).lead
