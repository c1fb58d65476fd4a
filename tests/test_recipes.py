"""The recipes that come with edgetune."""

from __future__ import annotations

import pytest

from edgetune.errors import RecipeError
from edgetune.recipe import resolve
from edgetune.recipes import copy_recipe, find_recipe, shipped_recipe, shipped_recipes


def test_at_least_one_is_shipped():
    assert shipped_recipes()


@pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda shipped: shipped.name)
def test_each_is_valid_and_described(shipped):
    recipe = shipped.read()
    assert recipe.name == shipped.name
    assert recipe.description


@pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda shipped: shipped.name)
def test_each_brings_its_script(shipped):
    resolved = resolve(shipped.file)
    prepare = resolved.recipe.data.prepare
    assert prepare is None or resolved.locate(prepare.script).is_file()


@pytest.fixture
def some(monkeypatch, tmp_path):
    """One shipped recipe, so that these tests do not hang on which are shipped."""
    folder = tmp_path / "package" / "smart-home"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("name: smart-home\nmodel: {source: m}\n")
    (folder / "prepare.py").write_text("")
    (folder / "__pycache__").mkdir()
    monkeypatch.setattr("importlib.resources.files", lambda _package: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return shipped_recipes()[0]


def test_found_by_name_or_path(some, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nmodel: {source: m}\n")
    assert find_recipe("smart-home") == some.file
    assert find_recipe(str(mine)) == mine
    assert find_recipe(str(some.folder)) == some.file


def test_a_file_wins_over_a_shipped_name(some, tmp_path):
    (tmp_path / "smart-home").write_text("name: mine\nmodel: {source: m}\n")
    assert find_recipe("smart-home").resolve() == tmp_path / "smart-home"


def test_unknown_name_offers_the_nearest(some):
    with pytest.raises(RecipeError, match="did you mean 'smart-home'") as raised:
        shipped_recipe("smart-hose")
    assert raised.value.hint == "edgetune recipes list"


def test_missing_file_is_reported_as_a_file(some, tmp_path):
    with pytest.raises(RecipeError, match=r"no such recipe: .*missing\.yaml"):
        resolve(find_recipe(str(tmp_path / "missing.yaml")))


def test_a_misspelt_file_is_told_its_neighbour(some, tmp_path):
    (tmp_path / "kitchen").mkdir()
    with pytest.raises(RecipeError, match=r"did you mean '.*kitchen'"):
        resolve(find_recipe(str(tmp_path / "kitchn" / "recipe.yaml")))


def test_copy(some, tmp_path):
    folder = copy_recipe("smart-home", tmp_path / "copy")
    assert sorted(file.name for file in folder.iterdir()) == ["prepare.py", "recipe.yaml"]
    assert resolve(folder / "recipe.yaml").recipe.name == "smart-home"


def test_copy_into_an_empty_folder(some, tmp_path):
    (tmp_path / "copy").mkdir()
    assert (copy_recipe("smart-home", tmp_path / "copy") / "recipe.yaml").is_file()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_copy_overwrites_nothing(some, tmp_path, kind):
    target = tmp_path / "copy"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").touch()
    with pytest.raises(RecipeError, match="in use already"):
        copy_recipe("smart-home", target)
    assert target.read_text() == "mine" if kind == "file" else [f.name for f in target.iterdir()] == ["mine"]
