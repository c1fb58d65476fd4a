"""What benchmarks publish: results that stay, and figures of the same rows side by side."""

from __future__ import annotations

import json

import pytest
from benchmarkscripts import BENCHMARKS, script

from edgetune.errors import EdgetuneError
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import Answer, Basis, Evaluation


@pytest.fixture
def publishing():
    return script("publishing.py")


def test_results_of_one_day_and_machine_stand_side_by_side(tmp_path, publishing):
    times = [f"2026-01-31T1{hour}:00:00+00:00" for hour in range(3)]
    written = [publishing.write_results(tmp_path, {"created": time}, "Some CPU @ 2GHz") for time in times]
    assert [path.name for path in written] == [
        "2026-01-31-some-cpu-2ghz.json",
        "2026-01-31-some-cpu-2ghz-2.json",
        "2026-01-31-some-cpu-2ghz-3.json",
    ]
    assert [json.loads(path.read_text())["created"] for path in written] == times
    assert publishing.newest_results(tmp_path) == written[-1]


def test_the_same_measurement_takes_its_own_file_again(tmp_path, publishing):
    first = {"created": "2026-01-31T10:00:00+00:00"}
    other = {"created": "2026-01-31T11:00:00+00:00"}
    publishing.write_results(tmp_path, first, "cpu")
    target = publishing.write_results(tmp_path, other, "cpu")
    assert publishing.write_results(tmp_path, other | {"more": 1}, "cpu") == target
    assert len(list(tmp_path.iterdir())) == 2


def evaluation(subject, rows, right):
    answers = [
        Answer(
            row=row, correct=row < right, finish="stop", ratios={"loss": (1.0, 1.0), "exact_match": (row < right, 1)}
        )
        for row in rows
    ]
    basis = Basis(
        weights_sha256="w",
        data_sha256="d",
        rows=tuple(rows),
        runtime="torch",
        metrics=("exact_match",),
        max_new_tokens=8,
        system=None,
        edgetune="0",
    )
    return Evaluation(
        subject=subject,
        basis=basis,
        created="2026-01-01T00:00:00Z",
        seconds={},
        scores=(Score("exact_match", right / len(rows), 0.0, 1.0, len(rows), "d"),),
        answers=tuple(answers),
    )


def test_an_artifact_of_more_rows_is_shown_on_the_rows_of_the_base_too():
    found = script("recipe_runs.py").beside_the_base(
        [evaluation("base", range(5), 0), evaluation("q8_0", range(20), 4)]
    )
    shown = {name: (e.n, e.score("exact_match").value) for name, e in found.items()}
    assert shown == {"base": (5, 0.0), "q8_0": (20, 0.2), "q8_0, the base's rows": (5, 0.8)}


def test_of_each_name_the_newest_counts(tmp_path, publishing):
    for day, name, figure in ((1, "a", 1), (3, "a", 3), (2, "b", 2)):
        result = {"created": f"2026-01-0{day}T00:00:00+00:00", "name": name, "figure": figure}
        publishing.write_results(tmp_path, result, "CPU")
    found = publishing.newest_of_each(tmp_path, lambda one: one["name"])
    assert {name: one["figure"] for name, one in found.items()} == {"a": 3, "b": 2}
    with pytest.raises(EdgetuneError, match="no results"):
        publishing.newest_of_each(tmp_path / "none", str)


def test_a_file_above_a_goals_size_does_not_reach_it(publishing):
    """The page of few bits is that of its results, in which int4_gptq_last keeps enough and is larger than 105 MB."""
    few = script("few-bits/run.py")
    newest = json.loads(publishing.newest_results(BENCHMARKS / "few-bits/results").read_text())
    rows = [line.split(" | ") for line in few.page(newest).splitlines() if "onnx" in line and "105 MB" in line]
    reached = {row[2]: row[-1] for row in rows}
    assert reached["int4_gptq_last"] == "**no**: too large |"
    assert reached["int4_gptq"] == "yes |"
    assert few.page(newest) in (BENCHMARKS / "few-bits/README.md").read_text()
