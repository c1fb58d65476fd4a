"""A run belongs to the files that it was made from."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tinyruns import write_base
from tinytraining import weights, write_recipe

from edgetune import training
from edgetune.cli import main
from edgetune.errors import DataError, ModelError
from edgetune.recipe import resolve
from edgetune.run import open_run
from edgetune.sources import default_folder, hash_sources, script_files

SHORT = {"max_steps": 1, "evaluate_every": 1}
SCRIPT = """
import pathlib, helper
here = pathlib.Path(__file__)
here.with_name("was-run").write_text(here.with_name("rows.txt").read_text())
"""


def edit(path):
    path.write_text(path.read_text().replace("say", "Say", 1))


def change_weights(base):
    file = base / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.fixture
def base(tmp_path):
    torch.set_num_threads(1)
    return write_base(tmp_path / "base")


@pytest.mark.parametrize("name", ["train", "validation", "heldout"])
def test_a_trained_run_is_not_passed_off_as_one_of_other_rows(tmp_path, base, name):
    resolved = write_recipe(tmp_path / "recipe", base, train=SHORT, data={"validation": "validation.jsonl"})
    (tmp_path / "recipe" / "validation.jsonl").write_text('{"prompt": "say it", "completion": "it"}\n')
    run = training.train(resolved, tmp_path / "run")
    training.train(resolved, tmp_path / "run")
    file = tmp_path / "recipe" / f"{name}.jsonl"
    edit(file)
    with pytest.raises(DataError) as caught:
        training.train(resolved, tmp_path / "run")
    assert caught.value.problems == (f"data.{name}: {file} changed since the run was prepared",)
    assert "--output" in caught.value.hint
    file.unlink()
    assert training.train(resolved, tmp_path / "run") == run, "the run has its own copy of the rows"


def test_an_unfinished_run_does_not_take_other_rows_for_its_own(tmp_path, base, monkeypatch):
    resolved = write_recipe(tmp_path / "recipe", base, train=SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["edgetune.training.train"], "_train", lambda *_: None)
        training.train(resolved, tmp_path / "run")
    edit(tmp_path / "recipe" / "train.jsonl")
    assert main(["train", str(resolved.path), "--output", str(tmp_path / "run")]) == DataError.exit_code
    with pytest.raises(DataError, match="was made from other files") as caught:
        training.train(resolved, tmp_path / "run")
    assert f"--resume {tmp_path / 'run'}" in caught.value.hint
    assert training.resume(tmp_path / "run").manifest.state == "trained"


def test_a_trained_run_is_not_passed_off_as_one_of_another_base(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", base, train=SHORT)
    training.train(resolved, tmp_path / "run")
    change_weights(base)
    with pytest.raises(ModelError) as caught:
        training.train(resolved, tmp_path / "run")
    assert caught.value.problems == (f"model.source: {base} has other weights",)


def test_a_run_from_before_sources_were_recorded_goes_on(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", base, train=SHORT)
    run = training.train(resolved, tmp_path / "run")
    run.update_manifest(sources_sha256={})
    trained = weights(run)
    edit(tmp_path / "recipe" / "train.jsonl")
    found = training.train(resolved, tmp_path / "run")
    assert (found.manifest.state, found.manifest.sources_sha256) == ("trained", {})
    assert all(torch.equal(tensor, trained[name]) for name, tensor in weights(found).items()), "it is left alone"


def test_equal_recipes_in_two_folders_are_two_runs(tmp_path, base):
    first, second = (write_recipe(tmp_path / name, Path("../base"), train=SHORT) for name in ("a", "b"))
    assert first.recipe == second.recipe
    assert default_folder(first) == default_folder(second), "the same rows and base: the same run"
    edit(tmp_path / "b" / "train.jsonl")
    assert default_folder(first) != default_folder(second)
    training.train(first, tmp_path / "run")
    with pytest.raises(DataError, match="was made from other files"):
        training.train(second, tmp_path / "run")
    shutil.copy(tmp_path / "a" / "train.jsonl", tmp_path / "b" / "train.jsonl")
    (tmp_path / "a" / "base").symlink_to(base)
    write_base(tmp_path / "b" / "base")
    first, second = (write_recipe(tmp_path / name, Path("base"), train=SHORT) for name in ("a", "b"))
    assert default_folder(first) != default_folder(second)


def with_script(folder, base):
    recipe = write_recipe(folder, base, data={"prepare": {"script": "make.py", "arguments": ["extra.txt"]}})
    values = yaml.safe_load(recipe.path.read_text())
    del values["data"]["train"], values["data"]["heldout"]
    recipe.path.write_text(yaml.safe_dump(values))
    (folder / "make.py").write_text(SCRIPT)
    (folder / "helper.py").write_text("")
    (folder / "rows.txt").write_text("")
    (folder / "unread.txt").write_text("")
    return resolve(recipe.path)


def test_a_script_counts_with_what_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolved = with_script(tmp_path / "recipe", tmp_path / "base")
    found = script_files(tmp_path / "recipe" / "make.py")
    assert [path.name for path in found] == ["make.py", "helper.py", "rows.txt"]
    before, folder = hash_sources(resolved), default_folder(resolved)
    for name in ("rows.txt", "helper.py", "make.py"):
        (tmp_path / "recipe" / name).write_text("# another\n")
        after = hash_sources(resolved)
        assert {key for key in before if after.get(key) != before[key]} >= {f"data.prepare.script ({name})"}
        before = after
    assert default_folder(resolved) != folder
    (tmp_path / "recipe" / "unread.txt").write_text("another")
    assert hash_sources(resolved) == before
    (tmp_path / "extra.txt").write_text("an argument that is a file")
    assert "data.prepare.arguments (extra.txt)" in hash_sources(resolved)
    assert not (tmp_path / "recipe" / "was-run").exists()


FOLDERS = """
# what the notes say
import pathlib, helper
from package import rows
here = pathlib.Path(__file__).parent
(here / "raw").glob("*.txt")
"""


def test_folders_that_a_script_names_or_imports_count_whole(tmp_path):
    resolved = with_script(tmp_path / "recipe", tmp_path / "base")
    folder = tmp_path / "recipe"
    (folder / "make.py").write_text(FOLDERS)
    (folder / "helper.py").write_text("open('more/x.txt')")
    paths = ["package/__init__.py", "package/deep/rows.py", "raw/a.txt", "more/x.txt", "notes/a.txt", "raw/.cache/b"]
    for path in [*paths, "package/__pycache__/rows.pyc"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    counted = [path.relative_to(folder).as_posix() for path in script_files(folder / "make.py")]
    assert sorted(counted) == sorted(["make.py", "helper.py", *paths[:4]])
    before = hash_sources(resolved)
    (folder / paths[1]).write_text("# other")
    after = hash_sources(resolved)
    assert [key for key in after if before[key] != after[key]] == ["data.prepare.script (package/deep/rows.py)"]


CACHING = """
import argparse, json, pathlib
reader = argparse.ArgumentParser()
reader.add_argument("--output", type=pathlib.Path)
output, here = reader.parse_known_args()[0].output, pathlib.Path(__file__).parent
(here / "cache").mkdir(exist_ok=True)
(here / "cache" / f"{len(list((here / 'cache').iterdir()))}.txt").write_text("fetched")
(here / "seen.txt").write_text("again" if (here / "seen.txt").exists() else "first")
(here / "rows.txt").read_text()
for name, first in (("train", 0), ("heldout", 24)):
    rows = [json.dumps({"prompt": f"say {n}", "completion": f"{n}!"}) for n in range(first, first + 6)]
    (output / f"{name}.jsonl").write_text("\\n".join(rows))
"""


@pytest.mark.parametrize("there_before", [False, True])
def test_what_a_script_keeps_beside_itself_does_not_make_another_run(tmp_path, base, monkeypatch, there_before):
    monkeypatch.chdir(tmp_path)
    resolved = with_script(tmp_path / "recipe", base)
    (tmp_path / "recipe" / "make.py").write_text(CACHING)
    if there_before:
        (tmp_path / "recipe" / "seen.txt").write_text("long ago")
    monkeypatch.setattr(sys.modules["edgetune.training.train"], "_train", lambda *_: None)
    words = ["train", "recipe/recipe.yaml", "--allow-scripts"]
    assert main(words) == main(words) == 0
    (run,) = (tmp_path / "runs").iterdir()
    kept = open_run(run).manifest
    assert kept.script_wrote == ("data.prepare.script (cache/", "data.prepare.script (seen.txt)")
    assert main([*words, "--seed", "7"]) == 0, "another run fills the cache further"
    assert default_folder(resolved).resolve() == run
    (tmp_path / "recipe" / "rows.txt").write_text("other")
    assert default_folder(resolved).resolve() != run
    assert main([*words, "--output", str(run)]) == DataError.exit_code


def test_folders_and_hubs(tmp_path):
    rows = tmp_path / "recipe" / "rows"
    rows.mkdir(parents=True)
    (rows / "state.json").write_text("{}")
    resolved = write_recipe(tmp_path / "recipe", tmp_path, data={"train": "rows#a", "heldout": "hub:owner/name"})
    before = hash_sources(resolved)
    assert set(before) == {"data.train"}
    (rows / "state.json").write_text("[]")
    assert hash_sources(resolved) != before


def test_what_is_open_again_is_what_was_found(tmp_path, base, monkeypatch):
    """The same command from the same place finds its run, whatever was made beside it meanwhile."""
    monkeypatch.chdir(tmp_path)
    resolved = write_recipe(tmp_path / "recipe", base, train=SHORT)
    assert main(["train", "recipe/recipe.yaml"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run == (tmp_path / default_folder(resolved))
    before = open_run(run).manifest
    assert main(["train", "recipe/recipe.yaml"]) == 0
    assert [open_run(folder).manifest for folder in (tmp_path / "runs").iterdir()] == [before]
    edit(tmp_path / "recipe" / "train.jsonl")
    assert main(["train", "recipe/recipe.yaml"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
