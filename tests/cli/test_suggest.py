from __future__ import annotations

import json
from pathlib import Path

import pytest
import tinyclassifier
import tinytraining
from tinyruns import write_base

from edgetune.cli import main
from edgetune.recipe import resolve
from edgetune.sensitivity.record import Suggestion
from edgetune.sensitivity.suggesting import Wanted, suggest


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tinytraining.write_recipe(tmp_path / "recipe", write_base(tmp_path / "base"), method={"rank": 4}).path


def test_it_prints_stores_and_writes_a_recipe_that_trains(recipe, tmp_path, capsys):
    output = tmp_path / "suggested.yaml"
    assert main(["suggest", str(recipe), "--rows", "24", "--output", str(output), "--max-steps", "2"]) == 0
    out, err = capsys.readouterr()
    assert "method.rank = " in out
    assert "95 % jackknife" in out
    (stored,) = (tmp_path / "suggestions").glob("tiny-*.json")
    suggestion = Suggestion.model_validate_json(stored.read_bytes())
    assert f"stored: suggestions/{stored.name}" in err
    written = resolve(output).recipe
    assert written.method.rank == {change.key: change.value for change in suggestion.changes}["method.rank"]
    assert main(["train", str(output), "--output", str(tmp_path / "run")]) == 0


def test_json_has_every_layer(recipe, capsys):
    assert main(["suggest", str(recipe), "--rows", "24", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "edgetune-suggestion"
    assert len(found["sensitivity"]["layers"]) == 14


def test_a_recipe_that_is_there_is_not_replaced_and_nothing_is_computed(recipe, capsys):
    assert main(["suggest", str(recipe), "--output", str(recipe)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "recipe.yaml exists" in err
    assert "--force" in err


def test_what_is_proposed_for_a_classifier_can_be_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", tinyclassifier.write_base(tmp_path / "base"))
    output = tmp_path / "recipe" / "suggested.yaml"
    found = suggest(resolved, Wanted(rows=64, output=output))
    assert found.suggestion.changes
    assert main(["train", str(output), "--max-steps", "2", "--output", str(tmp_path / "run")]) == 0


def test_rows_that_disagree_are_told(recipe, capsys, monkeypatch):
    from edgetune.sensitivity import suggesting

    monkeypatch.setattr(suggesting, "choose", lambda *_: ())
    words = ["suggest", str(recipe), "--rows", "8"]
    assert main(words) == 0
    assert "nothing is proposed" in capsys.readouterr().out
    assert main([*words, "--output", "proposed.yaml"]) == 0
    assert "proposed.yaml was not written: nothing is proposed" in capsys.readouterr().err
    assert not Path("proposed.yaml").exists()
