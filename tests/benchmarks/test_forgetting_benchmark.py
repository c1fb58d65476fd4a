"""The forgetting benchmark: what each remedy changes is a valid recipe, and its table says what was found."""

from __future__ import annotations

import pytest
from benchmarkscripts import script

from edgetune.general.comparing import compare
from edgetune.general.figures import with_scores
from edgetune.general.record import Choice, GeneralBasis, GeneralEvaluation, Read
from edgetune.recipe import resolve
from edgetune.recipes import find_recipe


@pytest.fixture
def run_script():
    return script("forgetting/run.py")


def evaluation(subject, right):
    basis = GeneralBasis(
        weights_sha256=subject,
        data_sha256={"piqa": "a", "siqa": "b", "text": "c"},
        rows={"piqa": tuple(range(8)), "siqa": tuple(range(8)), "text": (0, 1)},
        metrics={"piqa": "acc_norm", "siqa": "acc"},
        runtime="torch",
        edgetune="0",
    )
    choices = tuple(
        Choice(task=task, row=row, log_likelihoods=(-1.0, -2.0), characters=(3, 3), answer=int(row >= right))
        for task in ("piqa", "siqa")
        for row in range(8)
    )
    passages = tuple(Read(row=row, log_likelihood=-20.0 + right, bytes=20, words=4) for row in (0, 1))
    return with_scores(
        GeneralEvaluation(
            subject=subject, basis=basis, created="now", seconds=1, scores=(), choices=choices, passages=passages
        )
    )


def test_every_remedy_is_a_valid_recipe_that_differs_from_the_others(run_script, tmp_path):
    path = find_recipe("smart-home")
    recipes = [
        resolve(path, {key: (value, "flag") for key, value in changes.items()}).recipe.model_dump_json()
        for changes in run_script.remedies(100, tmp_path / "articles.jsonl", 30).values()
    ]
    assert len(set(recipes)) == len(recipes) == 6
    upper = run_script.remedies(100, tmp_path, 30)["upper third of the layers"]["method.target_modules"]
    assert len(upper) == 70
    assert upper[0].startswith("model.layers.20.")
    assert upper[-1].startswith("model.layers.29.")


def test_the_table_shows_the_base_and_how_each_remedy_moved(run_script):
    base, tuned = evaluation("base", 8), evaluation("tuned", 2)
    one = {
        "remedy": "none",
        "steps": 5,
        "seconds": 9.7,
        "task": {"exact_match": [0.5, 0.4, 0.6]},
        "moved": compare(base, tuned).to_json(),
    }
    found = {
        "settings": {"steps": 5, "rows": 10},
        "base": {"task": {"exact_match": [0.0, 0.0, 0.1]}, "general": base.model_dump(mode="json")},
        "remedies": [one],
        "machine": {
            "cpu": "x", "features": "y", "usable_cpus": 2, "memory_bytes": 1e9, "system": "z",
        },
    }  # fmt: skip
    page = run_script.page(found)
    lines = page.splitlines()
    assert "| untuned base |  | 0.000 [0.000, 0.100] | 1.000 |" in lines[2]
    assert "| none | 5 | 0.500 [0.400, 0.600] | **-0.750** [" in lines[3]
    assert "8 of piqa, 8 of siqa, 2 of text" in page


def test_rows_for_the_harness_give_back_the_prompt():
    harness = script("forgetting/harness.py")
    from edgetune.general.items import Item

    piqa = harness._row("piqa", Item(0, "Question: a\nAnswer:", ("x", "y"), 1))
    assert piqa == {"goal": "a", "sol1": "x", "sol2": "y", "label": 1}
    siqa = harness._row("siqa", Item(0, "Q: Kim left. Why so?\nA:", ("x", "y", "z"), 2))
    assert f"Q: {siqa['context']} {siqa['question']}\nA:" == "Q: Kim left. Why so?\nA:"
    assert (siqa["answerC"], siqa["label"]) == ("z", "3")
    book = harness._row("openbookqa", Item(0, "Owls eat", ("x", "y"), 1))
    assert book["choices"]["label"].index(book["answerKey"]) == 1
