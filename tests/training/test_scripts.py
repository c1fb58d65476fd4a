"""A recipe's data script runs unasked only where it is edgetune's own, and then from edgetune's own folder."""

from __future__ import annotations

import shutil

import pytest

from edgetune.recipes import shipped_recipe
from edgetune.training.preparing import shipped_twin


@pytest.fixture
def copied(tmp_path):
    target = tmp_path / "mine"
    shutil.copytree(shipped_recipe("smart-home").folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_a_copy_is_known_and_the_original_is_run(copied):
    (copied / "recipe.yaml").write_text("name: mine\n")
    assert shipped_twin(copied / "prepare.py") == shipped_recipe("smart-home").folder / "prepare.py"


@pytest.mark.parametrize("name", ["prepare.py", "words.yaml", "yaml.py", "yaml/__init__.py", "numpy.so"])
def test_any_other_file_beside_it_makes_it_foreign(copied, name):
    (copied / name).parent.mkdir(exist_ok=True)
    with (copied / name).open("a") as file:
        file.write("\n# changed\n")
    assert shipped_twin(copied / "prepare.py") is None
