"""The comparison's benchmark says the same in both languages."""

from __future__ import annotations

import pytest
from benchmarkscripts import script
from comparisons import comparison

from edgetune.methods.record import Rate, Try
from edgetune.methods.tuning import WORSE
from edgetune.report.cells import NOTHING

TRIED = (Try(rate=0.001, loss=0.5), Try(rate=0.01, loss=0.4))


@pytest.fixture
def methods():
    return script("methods/run.py")


def test_both_pages_say_what_is_taken_and_why(methods):
    found = comparison({"full": [80, 81, 80], "lora": [80, 81, 80], "head-only": [60, 61, 60]})
    english, spanish = methods.english(found), methods.spanish(found)
    assert "**Take lora:" in english
    assert "**Elección: LoRA.** Exactitud: 0.803 frente a 0.803 de Fine-Tuning completo; memoria máxima: " in spanish
    assert "| solo la cabeza |" in spanish.splitlines()[0]
    assert not any(line.startswith(("| exported", "| peak", "| accuracy")) for line in spanish.splitlines())


def test_a_rate_at_the_edge_of_what_was_tried_is_said(methods):
    found = comparison({"full": [80, 81, 80], "lora": [80, 81, 80]})
    rates = tuple(Rate(method=name, value=0.01, why="", tried=tried) for name, tried in (("full", TRIED), ("lora", ())))
    found = found.model_copy(update={"rates": rates})
    assert "Best at the last rate that was tried, so another may be better still: full." in script(
        "methods/run.py"
    ).english(found)
    assert "otra podría ser aún mejor: Fine-Tuning completo." in methods.spanish(found)


def test_the_command_says_what_is_not_the_usual(methods):
    found = comparison({"full": [80, 81, 80], "lora": [80, 81, 80]})
    assert "run.py --recipe tickets --tries 0 --methods full,lora`" in methods.english(found)
    assert "No rates were tried" in methods.english(found)
    tried = tuple(one.model_copy(update={"tried": TRIED}) for one in found.rates)
    assert "--tries" not in methods.english(found.model_copy(update={"rates": tried}))


def test_no_published_training_ended_worse_than_the_try_that_chose_its_rate(methods):
    for found in methods.newest_of_each():
        tried = {one.method: {each.rate: each.loss for each in one.tried}[one.value] for one in found.rates}
        whole = [one for one in found.trainings if one.share == 1]
        assert len(whole) == len(found.methods) * len(found.seeds)
        assert all(one.best_loss <= WORSE * tried[one.method] for one in whole), found.name


def test_more_rows_have_a_table_of_their_own(methods):
    found = comparison({"full": [80, 81, 80], "lora": [80, 81, 80]})
    few = [one.model_copy(update={"share": 0.5, "rows": one.rows // 2}) for one in found.of("lora")]
    found = found.model_copy(update={"trainings": (*found.trainings, *few)})
    counts = f"{few[0].rows} rows, 0.64 passes | {2 * few[0].rows} rows, 0.32 passes"
    assert f"| method | {counts} |" in methods.english(found)
    assert f"| full | {NOTHING} | 0.803" in methods.english(found)
    assert f"| método | {counts.replace('rows', 'filas').replace('passes', 'pasadas')} |" in methods.spanish(found)


def test_what_was_stored_is_what_the_pages_show(methods):
    stored = methods.newest_of_each()
    assert stored
    for page, write in (("README.md", methods.english), (methods.GUIDE / "comparar-metodos.md", methods.spanish)):
        text = (methods.HERE / page).read_text(encoding="utf-8")
        assert all(write(one) in text for one in stored)
