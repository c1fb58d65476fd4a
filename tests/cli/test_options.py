"""Flag over environment over recipe over default, and what a word on the command line means."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from edgetune.cli.options import RecipeCommand, flag, recipe_options, resolve_recipe, variable
from edgetune.recipe import leaf_fields


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("name: a\nmodel: {source: m}\ntrain: {epochs: 5, seed: 3}\n")
    return file


@pytest.fixture
def resolve(recipe):
    """Resolve the recipe under flags and variables, through a real click command."""

    def call(*arguments, env=None):
        seen = []

        @click.command(cls=RecipeCommand)
        def command(overrides):
            seen.append(resolve_recipe(str(recipe), overrides))

        result = CliRunner().invoke(command, arguments, env=env or {}, standalone_mode=False)
        if result.exception:
            raise result.exception
        return seen[0]

    return call


def test_default(resolve):
    resolved = resolve()
    assert resolved.recipe.train.batch_size == 16
    assert resolved.origins["train.batch_size"] == "default"


def test_recipe_over_default(resolve):
    resolved = resolve()
    assert resolved.recipe.train.epochs == 5
    assert resolved.origins["train.epochs"] == "recipe"


def test_environment_over_recipe(resolve):
    resolved = resolve(env={"EDGETUNE_EPOCHS": "7"})
    assert resolved.recipe.train.epochs == 7
    assert resolved.origins["train.epochs"] == "environment"
    assert resolved.origins["train.seed"] == "recipe"


def test_flag_over_environment(resolve):
    resolved = resolve("--epochs", "9", env={"EDGETUNE_EPOCHS": "7"})
    assert resolved.recipe.train.epochs == 9
    assert resolved.origins["train.epochs"] == "flag"


def test_all_four_origins_are_stored_in_the_run(resolve, tmp_path):
    import json

    from edgetune.run import create_run

    resolved = resolve("--rank", "4", env={"EDGETUNE_LEARNING_RATE": "1e-3"})
    run = create_run(resolved, tmp_path / "run", created="2026-01-01T00:00:00Z", version="0")
    stored = json.loads((run.folder / "origins.json").read_text())
    assert stored["method.rank"] == {"value": 4, "origin": "flag"}
    assert stored["train.learning_rate"] == {"value": 1e-3, "origin": "environment"}
    assert stored["train.epochs"] == {"value": 5.0, "origin": "recipe"}
    assert stored["train.batch_size"] == {"value": 16, "origin": "default"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--metrics", "json,chrf"), ("json", "chrf")),
        (("--metrics", "json", "--metrics", "chrf"), ("json", "chrf")),
        (("--metrics", '["json"]'), ("json",)),
    ],
)
def test_lists(resolve, arguments, expected):
    assert resolve(*arguments).recipe.task.metrics == expected


def test_list_from_the_environment(resolve):
    resolved = resolve(env={"EDGETUNE_METRICS": "json,chrf"})
    assert resolved.recipe.task.metrics == ("json", "chrf")
    assert resolved.origins["task.metrics"] == "environment"


def test_a_pattern_with_a_comma_fits_in_json(resolve):
    arguments = ("--method", "freeze", "--train-patterns", '["layers\\\\.[0-9]{1,2}\\\\."]')
    assert resolve(*arguments).recipe.method.train_patterns == (r"layers\.[0-9]{1,2}\.",)


def test_a_pattern_may_begin_with_a_bracket(resolve):
    assert resolve("--method", "freeze", "--train-patterns", "[ab]").recipe.method.train_patterns == ("[ab]",)


@pytest.mark.parametrize(
    ("word", "expected"), [("auto", "auto"), ("q_proj", ("q_proj",)), ("q_proj,v_proj", ("q_proj", "v_proj"))]
)
def test_a_word_or_a_list(resolve, word, expected):
    assert resolve("--target-modules", word).recipe.method.target_modules == expected


def test_none_empties_a_field(resolve, recipe):
    recipe.write_text("name: a\nmodel: {source: m}\ntrain: {max_minutes: 5}\n")
    assert resolve("--max-minutes", "none").recipe.train.max_minutes is None


@pytest.mark.parametrize(("word", "expected"), [("--tensorboard", True), ("--no-tensorboard", False)])
def test_switches(resolve, recipe, word, expected):
    recipe.write_text(f"name: a\nmodel: {{source: m}}\ntrain: {{tensorboard: {str(not expected).lower()}}}\n")
    resolved = resolve(word)
    assert resolved.recipe.train.tensorboard is expected
    assert resolved.origins["train.tensorboard"] == "flag"


def test_a_switch_that_is_not_given_leaves_the_recipe_alone(resolve, recipe):
    recipe.write_text("name: a\nmodel: {source: m}\ntrain: {tensorboard: true}\n")
    assert resolve().recipe.train.tensorboard is True


def test_a_switch_from_the_environment(resolve):
    assert resolve(env={"EDGETUNE_GRADIENT_CHECKPOINTING": "true"}).recipe.train.gradient_checkpointing is True


def test_a_path_on_the_command_line_is_relative_to_the_current_folder(resolve, tmp_path, monkeypatch):
    here = tmp_path / "elsewhere"
    here.mkdir()
    (here / "rows.jsonl").touch()
    monkeypatch.chdir(here)
    resolved = resolve("--data-train", "rows.jsonl")
    assert resolved.locate(resolved.recipe.data.train) == here / "rows.jsonl"


def test_a_hub_id_stays_as_it_is(resolve):
    assert resolve("--model", "owner/model").recipe.model.source == "owner/model"


def test_a_wrong_variable_is_named(resolve):
    with pytest.raises(click.BadParameter, match="EDGETUNE_RANK"):
        resolve(env={"EDGETUNE_RANK": "0"})


def test_every_flag_and_variable_is_its_own():
    keys = [key for key, _ in leaf_fields()]
    assert len({flag(key) for key in keys}) == len(keys)
    assert len({variable(key) for key in keys}) == len(keys)


def test_every_setting_but_the_structured_ones_has_an_option():
    offered = {option.opts[0] for option in recipe_options()}
    assert {flag(key) for key, _ in leaf_fields()} - offered == {"--data-prepare", "--data-replay"}


def test_every_option_has_help():
    assert all(option.help for option in recipe_options())


def test_help_lists_choices_defaults_and_sections():
    command = RecipeCommand("x", params=[])
    text = CliRunner().invoke(command, ["--help"], terminal_width=200, max_content_width=200).output
    assert "Recipe section train (the optimisation):" in text
    assert "[cosine|linear|constant]" in text
    assert "[default: cosine]" in text


def test_choices_are_completed():
    (option,) = [option for option in recipe_options() if option.opts[0] == "--scheduler"]
    context = click.Context(click.Command("x"))
    assert [item.value for item in option.type.shell_complete(context, option, "co")] == ["cosine", "constant"]


def test_a_variable_that_is_no_setting_is_told(tmp_path, monkeypatch, capsys):
    from edgetune.cli import main

    monkeypatch.setenv("EDGETUNE_LEARNING_RAT", "1")
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    assert main(["train", str(tmp_path / "gone.yaml")]) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert told == ["warning: EDGETUNE_LEARNING_RAT is not a setting; did you mean EDGETUNE_LEARNING_RATE?"]
