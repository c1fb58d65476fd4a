"""What a run is prepared from: rows however they are written."""

from __future__ import annotations

import json

from tinytraining import write_recipe

from edgetune import training
from edgetune.data.reading import load_rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_with_and_without_a_system_prompt_can_be_trained(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", base, train={"max_steps": 1, "evaluate_every": 1})
    rows = [{"prompt": f"say {n}", "completion": f"{n}!"} for n in range(24)]
    own = [{"prompt": f"tell {n}", "completion": f"{n}!", "system": "Be brief"} for n in range(6)]
    write(tmp_path / "recipe" / "train.jsonl", [*rows, *own])
    write(tmp_path / "recipe" / "heldout.jsonl", [{"prompt": "ring", "completion": "a"}, own[0] | {"prompt": "sing"}])
    run = training.train(resolved, tmp_path / "run")
    assert run.manifest.state == "trained"
    read = load_rows(run.train_file).raise_on_problems().rows
    assert sum(row.messages[0]["role"] == "system" for row in read) == 6
    assert len(load_rows(run.heldout_file).raise_on_problems().rows) == 2
