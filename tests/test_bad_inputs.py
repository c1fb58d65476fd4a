"""Bad input of every kind, through the real command line.

Each case is one line in ``helpers/badcases_*.py``: what is spoilt, the command, the exit code, and
words of the message. Whatever happens, a person sees one ``error:``, one ``hint:``, no traceback,
and no file that was not there before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from badcases_choosing import CHOOSING
from badcases_inputs import DATA, MODELS, RECIPES
from badcases_results import ARTIFACTS, EXPORTS, MACHINE, RUNS
from badcases_training import TRAINING
from badworld import Sound, World

from edgetune.cli import edgetune, main
from edgetune.evaluation import metrics

ROOMS = {
    "data": DATA,
    "recipe": RECIPES,
    "model": MODELS,
    "artifact": ARTIFACTS,
    "run": RUNS,
    "export": EXPORTS,
    "machine": MACHINE,
    "training": TRAINING,
    "choosing": CHOOSING,
}
CASES = {f"{room}: {name}": case for room, cases in ROOMS.items() for name, case in cases.items()}


def flags(command: click.Command, path: str = "edgetune") -> Iterator[str]:
    """Every option of a command and of those below it."""
    context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])
    for parameter in command.get_params(context):
        yield from (*parameter.opts, *parameter.secondary_opts)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield from flags(command.get_command(context, name), name)


#: Our own, and those of pip.
FLAGS = {*flags(edgetune), "--no-deps"}


def hint_of(lines: list[str]) -> str:
    """The line that says what to do."""
    return next((line for line in lines if line.startswith("hint: ")), "")


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Sound:
    return Sound.make(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def world(tmp_path, sound, monkeypatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGETUNE_DEBUG", raising=False)
    metrics._rouge.cache_clear()  # an earlier test may have loaded what a case takes away
    world = World(tmp_path, sound, monkeypatch)
    yield world
    world.restore()


@pytest.mark.parametrize("name", CASES)
def test_one_message_a_next_step_the_right_code_and_nothing_left_behind(name, world, capsys):
    command, code, words = CASES[name]
    argv = command(world)
    before = world.tree()
    capsys.readouterr()

    got = main(argv)
    world.restore()

    _, err = capsys.readouterr()
    lines = err.splitlines()
    assert got == code, err
    assert len([line for line in lines if line.startswith("error: ")]) == 1, err
    # Who pressed Ctrl-C knows what to do next.
    assert len([line for line in lines if line.startswith("hint: ")]) == (0 if code == 130 else 1), err
    assert words in err
    assert "Traceback" not in err
    assert "a bug in edgetune" not in err
    assert world.tree() == before
    assert set(re.findall(r"--[a-z][a-z-]+", hint_of(lines))) <= FLAGS, "the hint names an option that is not there"


def test_there_are_enough_kinds():
    assert len(CASES) >= 60
