"""The answers shown: worst misses of a task with right and wrong, the least alike of one with texts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reportruns import FOUR, write_report_run

from edgetune.report.evidence import read_evidence
from edgetune.report.sections.misses import misses_section


@pytest.fixture
def evidence(tmp_path):
    return read_evidence(write_report_run(tmp_path / "run", FOUR[:1], rows=30).folder)


def cells(section):
    (table,) = section.tables
    return [column.name for column in table.columns], table.rows


def test_the_base_is_shown_beside(evidence):
    columns, rows = cells(misses_section(evidence, None))
    assert columns == ["row", "prompt", "expected", "the untuned base", "answered"]
    base = {answer.row: answer.prediction for answer in evidence.base.answers}
    assert rows
    assert all(row[3].text.startswith(base[row[0].value - 1]) for row in rows)


def test_of_classes_it_speaks_of_classes(evidence):
    task = evidence.recipe.task.model_copy(update={"kind": "text-classification"})
    found = misses_section(replace(evidence, recipe=evidence.recipe.model_copy(update={"task": task})), None)
    assert cells(found)[0] == ["row", "text", "class", "answered"]
    assert found.notes == ("Wrong means: another class than the row's own.",)


def test_texts_are_not_called_wrong(evidence):
    (shipped,) = evidence.shipped
    basis = shipped.evaluation.basis.model_copy(update={"metrics": ("rouge_l", "chrf")})
    texts = shipped.evaluation.model_copy(update={"basis": basis})
    found = misses_section(replace(evidence, shipped=(replace(shipped, evaluation=texts),)), None)
    assert found.title == "Answers least like the reference"
    assert "wrong" not in found.lead
    assert found.notes == ()
    assert misses_section(evidence, None).title == "Worst misses"
