from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tinyclassifier
import tinyimages
import tinytraining
from safetensors.torch import load_file, save_file
from tinyruns import write_base

from edgetune.data.labelled import asked_of
from edgetune.data.reading import load_rows
from edgetune.errors import RecipeError
from edgetune.recipe import resolve
from edgetune.sweep import preparing
from edgetune.sweep.preparing import prepare
from edgetune.trials import with_settings


@pytest.fixture(autouse=True)
def _no_gradients(monkeypatch, suggestion):
    monkeypatch.setattr(preparing, "make_suggestion", lambda *_: suggestion)


def texts(path):
    return {json.loads(line)["text"] for line in Path(path).read_text(encoding="utf-8").splitlines()}


def rows_of(shared):
    data = shared.resolved.recipe.data
    return texts(data.train), texts(data.validation), texts(data.heldout)


def test_without_validation_rows_some_training_rows_choose_and_held_out_ones_never(tmp_path, base):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base)
    shared = prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    train, validation, heldout = rows_of(shared)
    own = texts(tmp_path / "recipe" / "train.jsonl")
    assert train | validation == own
    assert not train & validation
    assert heldout == texts(tmp_path / "recipe" / "heldout.jsonl")
    assert not heldout & validation
    assert shared.validation.startswith(f"{len(validation)} of the training rows")


def test_the_recipes_own_validation_rows_choose(tmp_path, base):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base, data={"validation": "validation.jsonl"})
    tinyclassifier.write_rows(tmp_path / "recipe" / "validation.jsonl", tinyclassifier.rows(12, start=90))
    shared = prepare(resolve(resolved.path), tmp_path / "sweep", {}, allow_scripts=False)
    train, validation, _ = rows_of(shared)
    assert train == texts(tmp_path / "recipe" / "train.jsonl")
    assert validation == texts(tmp_path / "recipe" / "validation.jsonl")
    assert shared.validation == "the recipe's own validation rows"


def test_a_second_call_finds_the_same(tmp_path, base):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base)
    first, second = (prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False) for _ in range(2))
    assert first.resolved == second.resolved
    assert first.data_sha256 == second.data_sha256
    assert first.suggestion.model_dump_json() == second.suggestion.model_dump_json()


@pytest.mark.parametrize("change", ["rows", "settings", "base"])
def test_a_sweep_does_not_go_on_over_other_rows_or_another_base(tmp_path, base, change):
    own = shutil.copytree(base, tmp_path / "base")
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", own)
    prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    if change == "rows":
        tinyclassifier.write_rows(tmp_path / "recipe" / "train.jsonl", tinyclassifier.rows(48))
    elif change == "settings":
        resolved = with_settings(resolved, {"data.train_limit": 20})
    else:
        weights = load_file(own / "model.safetensors")
        save_file({name: 2 * value for name, value in weights.items()}, own / "model.safetensors", {"format": "pt"})
    with pytest.raises(RecipeError, match="was begun with other rows or another base") as raised:
        prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    assert {"rows": "data.train", "settings": "data", "base": "model.source"}[change] in raised.value.problems[0]


def test_killed_while_rows_are_set_apart_it_sets_the_same_apart(tmp_path, base, monkeypatch):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base)
    real = preparing.write_rows

    def killed(path, rows):
        if path.name == "validation.jsonl":
            raise KeyboardInterrupt
        real(path, rows)

    with monkeypatch.context() as patched:
        patched.setattr(preparing, "write_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    train, validation, _ = rows_of(prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False))
    assert validation
    assert not train & validation
    assert train | validation == texts(tmp_path / "recipe" / "train.jsonl")


def test_the_only_row_of_a_class_stays_in_training(tmp_path, base):
    rows = [{"text": f"text {number}", "label": "common"} for number in range(12)]
    rows += [{"text": f"rare {number}", "label": f"class {number}"} for number in range(12)]
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base)
    tinyclassifier.write_rows(tmp_path / "recipe" / "train.jsonl", rows)
    tinyclassifier.write_rows(tmp_path / "recipe" / "heldout.jsonl", [{"text": "other", "label": "common"}])
    train, validation, _ = rows_of(prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False))
    assert {text.split()[0] for text in validation} == {"text"}
    assert len(train | validation) == 24


def test_limits_make_trials_short_and_evaluated_often_enough_to_prune(tmp_path, base):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base, train={"evaluate_every": None})
    shared = prepare(resolved, tmp_path / "sweep", {"max_steps": 40}, allow_scripts=False)
    assert shared.resolved.recipe.train.max_steps == 40
    assert shared.resolved.recipe.train.evaluate_every == 5


@pytest.mark.parametrize(
    ("own", "limits", "often"),
    [
        (2000, {"max_steps": 40}, 5),
        (2, {"max_steps": 40}, 2),
        (2000, {"max_minutes": 1}, None),
        (7, {}, 7),
    ],
)
def test_what_the_recipe_says_for_its_own_length_prunes_nothing(tmp_path, base, own, limits, often):
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base, train={"evaluate_every": own})
    assert (
        prepare(resolved, tmp_path / "sweep", limits, allow_scripts=False).resolved.recipe.train.evaluate_every == often
    )


def test_settings_of_the_data_that_change_the_loss_are_of_the_recipe(tmp_path, base):
    def hashed(name, **data):
        resolved = tinyclassifier.write_recipe(tmp_path / name, base, data=data)
        return prepare(resolved, tmp_path / name / "sweep", {}, allow_scripts=False).recipe_sha256

    assert hashed("a") == hashed("b") != hashed("c", max_tokens=17)


def test_the_same_recipe_is_the_same_wherever_it_lies_and_another_is_another(tmp_path, base):
    first, second, other = (
        prepare(
            tinyclassifier.write_recipe(tmp_path / name, base, **sections),
            tmp_path / name / "sweep",
            {},
            allow_scripts=False,
        ).recipe_sha256
        for name, sections in {"a": {}, "b": {}, "c": {"train": {"batch_size": 4}}}.items()
    )
    assert first == second != other


def test_rows_that_answer_are_set_apart_too(tmp_path):
    resolved = tinytraining.write_recipe(tmp_path / "recipe", write_base(tmp_path / "base"))
    shared = prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    data = shared.resolved.recipe.data
    train, validation = (load_rows(path).raise_on_problems().rows for path in (data.train, data.validation))
    assert (len(train), len(validation)) == (22, 2)
    assert not {row.messages[0]["content"] for row in train} & {row.messages[0]["content"] for row in validation}


def test_images_are_set_apart_too(tmp_path):
    resolved = tinyimages.write_recipe(tmp_path / "recipe", tinyimages.write_base(tmp_path / "resnet"))
    shared = prepare(resolved, tmp_path / "sweep", {}, allow_scripts=False)
    data = shared.resolved.recipe.data
    train, validation = (load_rows(path, "images").raise_on_problems().rows for path in (data.train, data.validation))
    assert (len(train), len(validation)) == (43, 5)
    assert not {asked_of(row) for row in train} & {asked_of(row) for row in validation}
