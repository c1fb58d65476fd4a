"""General rows mixed with those of the task."""

from __future__ import annotations

import json

import pytest
from rowfiles import write_rows
from tinytraining import write_recipe

from edgetune import training
from edgetune.data.reading import load_rows
from edgetune.errors import DataError, RecipeError
from edgetune.models import load_tokenizer
from edgetune.recipes import check_recipe
from edgetune.run import open_run
from edgetune.sources import default_folder
from edgetune.training.lessons import encode_run
from edgetune.training.preparing import prepare_run

TALK = [
    {"messages": [{"role": "user", "content": f"why {n}"}, {"role": "assistant", "content": f"because {n}"}]}
    for n in range(20)
]
TEXTS = [{"text": f"In the year {n} nothing happened."} for n in range(20)]


def recipe(folder, base, rows=TALK, share=0.25, **sections):
    folder.mkdir()
    write_rows(folder / "general.jsonl", rows)
    replay = {"source": "general.jsonl", "share": share}
    return write_recipe(folder, base, data={"replay": replay}, task={"system": "Be brief"}, **sections)


def prepared(tmp_path, base, **options):
    return prepare_run(recipe(tmp_path / "recipe", base, **options), tmp_path / "run", allow_scripts=False)


def test_a_share_of_the_training_rows_is_kept_apart_and_hashed(tmp_path, base, capsys):
    run = prepared(tmp_path, base)
    assert len(load_rows(run.rows_file("replay")).raise_on_problems().rows) == 6
    assert len(load_rows(run.train_file).rows) == 24
    assert set(run.manifest.data_sha256) == {"train", "replay", "heldout"}
    assert "data.replay.source" in run.manifest.sources_sha256
    assert "6 rows of general.jsonl are mixed with 24 training rows" in capsys.readouterr().err


def test_they_are_learnt_beside_the_others_without_the_task_s_system_prompt(tmp_path, base):
    run = prepared(tmp_path, base)
    tokenizer = load_tokenizer(run.tokenizer_folder)
    rows = encode_run(run, run.recipe).train
    assert len(rows) == 30
    texts = [tokenizer.decode(row.input_ids) for row in rows]
    assert ["Be brief" in text for text in texts] == [True] * 24 + [False] * 6
    assert all("why" in text for text in texts[24:])
    assert any(label != -100 for label in rows[-1].labels)


def test_plain_text_is_learnt_whole(tmp_path, base):
    run = prepared(tmp_path, base, rows=TEXTS)
    row = encode_run(run, run.recipe).train[-1]
    assert row.labels == row.input_ids


def test_more_than_there_are_takes_all_once_and_says_so(tmp_path, base, capsys):
    run = prepared(tmp_path, base, share=2.0)
    assert len(load_rows(run.rows_file("replay")).rows) == 20
    assert "all that it holds, fewer than the 48 asked for" in capsys.readouterr().err


def test_the_seed_chooses_them(tmp_path, base):
    def chosen(name, seed):
        resolved = recipe(tmp_path / name, base, train={"seed": seed})
        return prepare_run(resolved, tmp_path / f"run-{name}", allow_scripts=False).manifest.data_sha256["replay"]

    assert chosen("a", 1) == chosen("b", 1) != chosen("c", 2)


def test_a_held_out_row_among_them_is_a_leak(tmp_path, base):
    heldout = [{"messages": [{"role": "user", "content": "say 24"}, {"role": "assistant", "content": "24!"}]}]
    with pytest.raises(DataError, match="are in the replayed rows too"):
        prepared(tmp_path, base, rows=heldout)
    assert not (tmp_path / "run").exists()


def test_no_rows_and_no_file_are_told(tmp_path, base):
    resolved = recipe(tmp_path / "recipe", base)
    (tmp_path / "recipe" / "general.jsonl").unlink()
    with pytest.raises(RecipeError) as caught:
        check_recipe(resolved.path)
    assert "data.replay.source: no such file" in caught.value.problems[0]


def test_other_rows_to_replay_are_another_run(tmp_path, base):
    resolved = recipe(tmp_path / "recipe", base)
    before = default_folder(resolved)
    with (tmp_path / "recipe" / "general.jsonl").open("a") as file:
        file.write(json.dumps(TALK[0]) + "\n")
    assert default_folder(resolved) != before


def test_a_run_with_replay_trains_and_goes_on_only_with_the_same_rows(tmp_path, base):
    run = training.train(recipe(tmp_path / "recipe", base), tmp_path / "run")
    assert open_run(run.folder).manifest.state == "trained"
    run.update_manifest(state="training")
    with run.rows_file("replay").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match="are not those that it began with"):
        training.resume(run.folder)
