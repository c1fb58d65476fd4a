"""A whole sweep of a tiny classifier, in processes of its own."""

from __future__ import annotations

import pytest
import tinyclassifier

from edgetune.cli import main
from edgetune.errors import RecipeError, WrongUsage
from edgetune.recipe import resolve
from edgetune.sweep.record import Sweep
from edgetune.sweep.sweeping import sweep
from edgetune.sweep.wanted import Wanted


@pytest.fixture
def recipe(tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tinyclassifier.write_recipe(tmp_path / "recipe", base).path


def test_a_sweep_ends_in_a_recipe_and_goes_on_when_called_again(recipe, tmp_path, capsys):
    words = ["sweep", str(recipe), "--output", "out", "--trial-steps", "8", "--methods", "lora", "--ranks", "2"]
    assert main([*words, "--trials", "2"]) == 0
    out, err = capsys.readouterr()
    assert "held-out rows were not looked at" in out
    assert "cannot be said: 2 completed trials" in out
    assert "next: edgetune run out/best.yaml" in err
    done = Sweep.model_validate_json((tmp_path / "out" / "sweep.json").read_bytes())
    assert [trial.origin for trial in done.trials] == ["recipe", "suggested"]
    assert {trial.state for trial in done.trials} == {"complete"}
    best = done.trial(done.best)
    assert resolve(tmp_path / "out" / "best.yaml").recipe.method.rank == best.settings["method.rank"]
    assert (tmp_path / "out" / "charts" / "sweep-front.png").is_file()
    assert not list((tmp_path / "out" / "trials").glob("*/evaluations/*")), "nothing was evaluated on held-out rows"
    assert main([*words, "--trials", "3", "--json"]) == 0
    again = Sweep.model_validate_json(capsys.readouterr().out)
    assert again.trials[:2] == done.trials
    assert len(again.trials) == 3
    assert main([*words[:-1], "4", "--trials", "3"]) == 3
    assert "holds a sweep over something else; different: what is tried" in capsys.readouterr().err


def test_a_sweep_without_an_end_is_refused(recipe):
    with pytest.raises(WrongUsage, match="needs an end"):
        sweep(resolve(recipe), Wanted())


def test_a_method_that_the_task_cannot_take_is_refused_before_anything_is_trained(
    recipe, tmp_path, monkeypatch, suggestion
):
    from edgetune.sweep import preparing

    monkeypatch.setattr(preparing, "make_suggestion", lambda *_: suggestion)
    with pytest.raises(RecipeError) as caught:
        sweep(resolve(recipe), Wanted(trials=1, methods=("qlora",)), tmp_path / "out")
    assert "qlora is for generation" in str(caught.value.problems)
    assert not (tmp_path / "out" / "trials").exists()
