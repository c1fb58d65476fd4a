from __future__ import annotations

import pytest
import yaml

from edgetune.changed_recipe import require_free, write_changed
from edgetune.data.advice import Advice
from edgetune.errors import RecipeError
from edgetune.recipe import resolve

TEXT = """
name: small
model: {source: model}
data:
  train: rows.jsonl
  heldout: hub:someone/rows
  prepare: {script: prepare.py}
  replay: {source: general.txt}
method: {rank: 4}
"""


@pytest.fixture
def resolved(tmp_path):
    folder = tmp_path / "here"
    (folder / "model").mkdir(parents=True)
    for name in ("rows.jsonl", "prepare.py", "general.txt"):
        (folder / name).write_text("")
    (folder / "recipe.yaml").write_text(TEXT)
    return resolve(folder / "recipe.yaml", {"train.max_steps": (7, "flag")})


def test_changes_are_written_with_their_reasons_and_what_was_set_stays(resolved):
    output = resolved.path.with_name("new.yaml")
    changes = [
        Advice("method.rank", 8, "enough"),
        Advice("method.target_modules", ("q_proj",), "it holds " + "x " * 90),
    ]
    write_changed(resolved, changes, output, written_by="edgetune suggest recipe.yaml")
    lines = output.read_text().splitlines()
    assert lines[0] == "# Written by: edgetune suggest recipe.yaml"
    assert lines[1] == "# method.rank: enough"
    assert all(len(line) <= 120 for line in lines)
    written = yaml.safe_load(output.read_text())
    assert written["method"] == {"rank": 8, "target_modules": ["q_proj"]}
    assert written["train"] == {"max_steps": 7}
    assert resolve(output).recipe.method.rank == 8


def test_paths_are_those_of_the_new_place(resolved, tmp_path):
    output = tmp_path / "elsewhere" / "new.yaml"
    write_changed(resolved, [], output, written_by="x")
    moved = resolve(output)
    before, after = (
        [one.locate(path) for path in (r.model.source, r.data.train, r.data.prepare.script, r.data.replay.source)]
        for one in (resolved, moved)
        for r in [one.recipe]
    )
    assert before == after
    assert moved.recipe.data.heldout == "hub:someone/rows"


def test_changes_that_do_not_suit_the_recipe_write_nothing(resolved):
    output = resolved.path.with_name("new.yaml")
    with pytest.raises(RecipeError, match=r"with method\.rank is not a valid recipe"):
        write_changed(resolved, [Advice("method.rank", 0, "no")], output, written_by="x")
    assert not output.exists()


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    require_free(None, force=False)
    require_free(tmp_path / "a.yaml", force=True)
    with pytest.raises(RecipeError, match=r"a\.yaml exists"):
        require_free(tmp_path / "a.yaml", force=False)
