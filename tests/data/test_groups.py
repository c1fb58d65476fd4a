"""Rows may say what they have in common; that survives reading, writing and preparing a run."""

from __future__ import annotations

import json

import pytest
from tinyruns import write_base
from tinytraining import ROWS, write_recipe

from edgetune.data.checking import check_loaded
from edgetune.data.conversation import write_rows
from edgetune.data.reading import load_rows
from edgetune.training.preparing import prepare_run

LAYOUTS = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "a", "output": "b"},
    {"prompt": "a", "completion": "b"},
    {"text": "a"},
]


def rows_of(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_rows(path)


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: next(iter(row)))
def test_a_group_is_read_in_every_layout_and_written_again(tmp_path, row):
    loaded = rows_of(tmp_path / "rows.jsonl", row | {"group": "template 7"}, row | {"group": 7}, row)
    assert [conversation.group for conversation in loaded.rows] == ["template 7", "7", None]
    assert loaded.problems == ()
    write_rows(tmp_path / "again.jsonl", loaded.rows)
    again = load_rows(tmp_path / "again.jsonl").rows
    assert [conversation.group for conversation in again] == ["template 7", "7", None]
    assert "group" not in (tmp_path / "again.jsonl").read_text().splitlines()[2], (
        "rows without one are written as before"
    )


@pytest.mark.parametrize("odd", [["a"], {"a": 1}, 1.5])
def test_an_odd_group_is_a_warning_and_not_used(tmp_path, odd):
    loaded = rows_of(tmp_path / "rows.jsonl", LAYOUTS[0] | {"group": odd})
    assert loaded.rows[0].group is None
    assert [problem.message for problem in loaded.warnings] == [
        f"'group' is {type(odd).__name__}, not text, and is not used"
    ]


def test_groups_reach_the_held_out_rows_of_a_run(tmp_path):
    resolved = write_recipe(tmp_path / "recipe", write_base(tmp_path / "base"))
    file = tmp_path / "recipe" / "heldout.jsonl"
    file.write_text("".join(json.dumps(row | {"group": f"g{n % 2}"}) + "\n" for n, row in enumerate(ROWS[24:])))
    run = prepare_run(resolved, tmp_path / "run", allow_scripts=False)
    assert [row.group for row in load_rows(run.heldout_file).rows] == ["g0", "g1"] * 3


def test_groups_on_both_sides_are_a_warning(tmp_path):
    def talk(number):
        return [{"role": "user", "content": f"ask {number}"}, {"role": "assistant", "content": f"{number}"}]

    train = rows_of(tmp_path / "train.jsonl", *({"messages": talk(n), "group": f"g{n}"} for n in range(4)))
    heldout = rows_of(tmp_path / "heldout.jsonl", *({"messages": talk(n), "group": f"g{n - 6}"} for n in range(8, 12)))
    (found,) = check_loaded({"training": train, "heldout": heldout}, None).warnings
    assert found.where == str(tmp_path / "heldout.jsonl")
    assert found.message.startswith("2 held-out rows are of groups that are in training too, such as 'g2'")
    apart = rows_of(tmp_path / "apart.jsonl", {"messages": talk(20), "group": "other"}, {"messages": talk(21)})
    assert check_loaded({"training": train, "heldout": apart}, None).problems == ()
