"""What a run is prepared from: rows however they are written."""

from __future__ import annotations

import json

from rowfiles import write_rows
from tinytraining import ROWS, write_recipe

from edgetune import training
from edgetune.cli import main
from edgetune.data.reading import load_rows
from edgetune.training.preparing import prepare_run


def test_rows_with_and_without_a_system_prompt_can_be_trained(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", base, train={"max_steps": 1, "evaluate_every": 1})
    rows = [{"prompt": f"say {n}", "completion": f"{n}!"} for n in range(24)]
    own = [{"prompt": f"tell {n}", "completion": f"{n}!", "system": "Be brief"} for n in range(6)]
    write_rows(tmp_path / "recipe" / "train.jsonl", [*rows, *own])
    write_rows(
        tmp_path / "recipe" / "heldout.jsonl", [{"prompt": "ring", "completion": "a"}, own[0] | {"prompt": "sing"}]
    )
    run = training.train(resolved, tmp_path / "run")
    assert run.manifest.state == "trained"
    read = load_rows(run.train_file).raise_on_problems().rows
    assert sum(row.messages[0]["role"] == "system" for row in read) == 6
    assert len(load_rows(run.heldout_file).raise_on_problems().rows) == 2


def test_rows_whose_prompts_training_has_are_told(tmp_path, base, capsys):
    folder = tmp_path / "recipe"
    short = {"max_steps": 1, "evaluate_every": 1}
    resolved = write_recipe(folder, base, train=short, data={"validation": "validation.jsonl"})
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    write_rows(folder / "validation.jsonl", rows[:2])
    asked = rows[3]["messages"][0]
    write_rows(folder / "heldout.jsonl", [{"messages": [asked, {"role": "assistant", "content": "other"}]}])
    training.train(resolved, tmp_path / "run")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "1 held-out rows have prompts that training has too" in told[0]
    assert f"{folder / 'heldout.jsonl'}:1 (as {folder / 'train.jsonl'}:4)" in told[0]
    assert "2 validation rows" in told[1]


def test_data_check_looks_at_rows_for_validation(tmp_path, capsys):
    train = write_rows(tmp_path / "train.jsonl", [{"prompt": f"q{n}", "completion": f"{n}"} for n in range(4)])
    validation = write_rows(tmp_path / "validation.jsonl", [{"prompt": "q1", "completion": "1"}])
    heldout = write_rows(tmp_path / "heldout.jsonl", [{"prompt": "new", "completion": "1"}])
    command = ["data", "check", str(train), "--heldout", str(heldout), "--validation", str(validation)]
    assert main(command) == 0
    assert f"{validation}:1: is also in training: {train}:2" in capsys.readouterr().out
    write_rows(heldout, [{"prompt": "q1", "completion": "1"}])
    assert main(command) == 4
    assert f"{heldout}:1: is also in validation: {validation}:1" in capsys.readouterr().err


def test_a_system_prompt_that_would_not_travel_is_told(tmp_path, base, capsys):
    rows = [{"messages": [{"role": "system", "content": "Be brief."}, *row["messages"]]} for row in ROWS]
    for name, system, told in (("without", None, True), ("with", "Be brief.", False)):
        resolved = write_recipe(tmp_path / f"{name}-recipe", base, task={"system": system})
        write_rows(resolved.path.parent / "train.jsonl", rows[:24])
        prepare_run(resolved, tmp_path / name, allow_scripts=False)
        assert ('task.system: "Be brief."' in capsys.readouterr().err) == told
