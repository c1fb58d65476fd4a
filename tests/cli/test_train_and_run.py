"""`edgetune train` and `edgetune run` hand over what was asked and print what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import edgetune
from edgetune import training
from edgetune.cli import main
from edgetune.run import Run


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: mine\nmodel: {source: m}\n")
    return "recipe.yaml"


@pytest.fixture
def calls(monkeypatch):
    """What the commands called, in place of the real work."""
    seen = []

    def train(resolved, folder, *, allow_scripts=False):
        seen.append(("train", resolved, folder, allow_scripts))
        return Run(folder)

    def resume(folder):
        seen.append(("resume", folder))
        return Run(folder)

    def run_recipe(resolved, folder, *, allow_scripts=False):
        seen.append(("run", resolved, folder, allow_scripts))
        return SimpleNamespace(to_text=lambda: f"made {folder}", unverified=(), verdicts={})

    monkeypatch.setattr(training, "train", train, raising=False)
    monkeypatch.setattr(training, "resume", resume, raising=False)
    pipeline = SimpleNamespace(run_recipe=run_recipe)
    monkeypatch.setitem(sys.modules, "edgetune.pipeline", pipeline)
    monkeypatch.setattr(edgetune, "pipeline", pipeline, raising=False)
    return seen


def test_train_hands_over_the_resolved_recipe_and_prints_the_run(recipe, calls, capsys):
    assert main(["train", recipe, "--rank", "4", "--output", "out", "--allow-scripts"]) == 0
    ((what, resolved, folder, allowed),) = calls
    assert (what, folder, allowed) == ("train", Path("out"), True)
    assert resolved.recipe.method.rank == 4
    assert resolved.origins["method.rank"] == "flag"
    assert capsys.readouterr().out == "out\n"


def test_the_default_folder_depends_on_the_settings(recipe, calls):
    for arguments in ([], ["--rank", "4"], ["--rank", "16"]):
        assert main(["train", recipe, *arguments]) == 0
    first, second, third = [folder for _, _, folder, _ in calls]
    assert first.parent == Path("runs")
    assert first.name.startswith("mine-")
    assert first == third  # 16 is the default
    assert first != second


def test_scripts_are_not_allowed_by_default(recipe, calls):
    main(["train", recipe])
    assert calls[0][3] is False


def test_resume(calls, capsys, tmp_path):
    assert main(["train", "--resume", str(tmp_path)]) == 0
    assert calls == [("resume", tmp_path)]
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_resume_ignores_the_environment(calls, monkeypatch, tmp_path, capsys):
    """A variable left over in the shell must not change, nor forbid, a resumed run."""
    monkeypatch.setenv("EDGETUNE_RANK", "4")
    assert main(["train", "--resume", str(tmp_path)]) == 0
    assert "not used: EDGETUNE_RANK" in capsys.readouterr().err


def test_run_prints_the_result(recipe, calls, capsys):
    assert main(["run", recipe, "--method", "qlora"]) == 0
    ((what, resolved, folder, allowed),) = calls
    assert (what, allowed) == ("run", False)
    assert resolved.recipe.method.kind == "qlora"
    assert capsys.readouterr().out == f"made {folder}\n"


def test_an_invalid_recipe_starts_nothing(recipe, calls, capsys):
    Path(recipe).write_text("name: mine\nmodel: {}\n")
    assert main(["train", recipe]) == 3
    assert main(["run", recipe]) == 3
    assert calls == []
    assert "model.source: required, but missing" in capsys.readouterr().err
