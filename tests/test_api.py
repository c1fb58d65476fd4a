"""``import edgetune``: the functions people call from Python."""

from __future__ import annotations

import pkgutil

import pytest
from tinyruns import write_artifact, write_base
from tinytraining import write_recipe

import edgetune
from edgetune import api
from edgetune.errors import RecipeError, WrongUsage
from edgetune.run import Run

SHORT = {"train": {"max_steps": 2, "evaluate_every": 1}, "task": {"max_new_tokens": 3}}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    return write_recipe(folder, write_base(folder / "base")).path


@pytest.fixture(scope="module")
def trained(recipe):
    return edgetune.train(recipe, output=recipe.parent / "run", **SHORT)


def test_what_is_offered_is_there():
    """Also once every module is imported: a module would hide a function of its name."""
    modules = [module.name for module in pkgutil.iter_modules(edgetune.__path__)]
    assert set(modules) & set(edgetune.__all__) == set()
    assert set(edgetune.__all__) == {*api.__all__, "EdgetuneError"}
    assert all(callable(getattr(edgetune, name)) for name in edgetune.__all__)


def test_overrides_reach_the_run_as_flags(trained):
    assert trained.recipe.train.max_steps == 2
    assert trained.manifest.result["steps"] == 2
    origins = (trained.folder / "origins.json").read_text()
    assert '"train.max_steps": {\n    "value": 2,\n    "origin": "flag"' in origins


@pytest.mark.parametrize("overrides", [{"train": {"max_step": 2}}, {"max_steps": 2}], ids=str)
def test_a_wrong_override_is_named(trained, overrides):
    with pytest.raises(RecipeError) as caught:
        edgetune.train(trained.folder / "recipe.yaml", **overrides)
    assert "did you mean" in " ".join(caught.value.problems)


def test_a_plain_value_can_be_overridden(trained):
    assert api._resolve(trained.folder / "recipe.yaml", {"name": "mine"}).recipe.name == "mine"


def test_resume_export_and_evaluate(trained, tmp_path):
    assert edgetune.resume(str(trained.folder)) == Run(trained.folder)
    artifact = edgetune.export(trained.folder, quant="f32")
    assert artifact.manifest.precision == "f32"
    assert edgetune.evaluate(trained, limit=2).n == 2
    assert edgetune.evaluate(trained.folder, "base", limit=2).n == 2
    assert edgetune.evaluate(trained, artifact.path, limit=2).n == 2


def test_bench_takes_a_path(tmp_path):
    artifact = write_artifact(tmp_path / "artifact")
    assert edgetune.benchmark(artifact.path, prompts=1, threads=1).figures


def test_layers_are_suggested(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = edgetune.suggest(recipe, rows=24, output=tmp_path / "better.yaml")
    assert found.file.resolve().parent == (tmp_path / "suggestions").resolve()
    assert found.suggestion.sensitivity.rows == 24
    assert found.recipe == tmp_path / "better.yaml"
    assert found.recipe.is_file()


def test_a_sweep_and_a_comparison_of_methods(recipe, tmp_path):
    swept = edgetune.sweep_recipe(recipe, trials=1, output=tmp_path / "sweep", options={"ranks": (2,)}, **SHORT)
    assert [trial.state for trial in swept.sweep.trials].count("complete") == 1
    assert swept.best_recipe.is_file()
    options = {"methods": ("full",), "seeds": 1, "general_limit": 0, "export": False}
    compared = edgetune.compare_methods(recipe, output=tmp_path / "methods", options=options, **SHORT)
    assert [one.method for one in compared.trainings] == ["full"]
    with pytest.raises(WrongUsage, match="needs an end"):
        edgetune.sweep_recipe(recipe, output=tmp_path / "endless")
