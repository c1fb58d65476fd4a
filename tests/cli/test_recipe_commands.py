"""`edgetune recipes …` and `edgetune recipe …`."""

from __future__ import annotations

import json

import pytest

from edgetune.cli import main
from edgetune.recipes import shipped_recipes


def test_list_names_and_describes(capsys):
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [recipe.name for recipe in shipped_recipes()]
    assert all(len(line.split()) > 1 for line in lines)


def test_show_prints_the_file(capsys):
    recipe = shipped_recipes()[0]
    assert main(["recipes", "show", recipe.name]) == 0
    assert capsys.readouterr().out.strip() == recipe.file.read_text().strip()


def test_copy_prints_the_new_file(capsys, tmp_path):
    recipe = shipped_recipes()[0]
    assert main(["recipes", "copy", recipe.name, str(tmp_path / "mine")]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "mine" / "recipe.yaml")
    assert "edgetune run" in err
    assert main(["recipe", "check", out.strip()]) == 0


def test_schema_is_json(capsys):
    assert main(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["model"]


def test_check_accepts_a_good_recipe(capsys, tmp_path):
    file = tmp_path / "recipe.yaml"
    (tmp_path / "rows.jsonl").touch()
    file.write_text("name: a\nmodel: {source: m}\ndata: {train: rows.jsonl}\nexports: [{quant: [q8_0, Q4_K_M]}]\n")
    assert main(["recipe", "check", str(file)]) == 0
    assert "valid recipe: a" in capsys.readouterr().out


BASE = "name: a\nmodel: {source: m}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no recipe"),
        ("- a\n- b\n", "holds no recipe"),
        ("just words\n", "holds no recipe"),
        ("name: a\nmodel: {source: m\n", "not valid YAML"),
        ("name: a\n\tmodel: 1\n", "not valid YAML"),
        ("name: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("name: a\n", "model: required, but missing"),
        ("model: {source: m}\n", "name: required, but missing"),
        ("name: Not A Name\nmodel: {source: m}\n", "name: "),
        ("name: 'a/b'\nmodel: {source: m}\n", "name: "),
        ("name: a\nmodel: {}\n", "model.source: required, but missing"),
        ("name: a\nmodel: m\n", "model: "),
        (BASE + "trian: {}\n", "trian: unknown key; did you mean 'train'?"),
        (BASE + "train: {learning_rte: 1}\n", "did you mean 'train.learning_rate'?"),
        (BASE + "train: {rank: 8}\n", "train.rank: unknown key; did you mean 'method.rank'?"),
        (BASE + "train: {learning_rate: -1}\n", "train.learning_rate: "),
        (BASE + "train: {learning_rate: fast}\n", "train.learning_rate: "),
        (BASE + "train: {epochs: 0}\n", "train.epochs: "),
        (BASE + "train: {batch_size: 1.5}\n", "train.batch_size: "),
        (BASE + "train: {scheduler: cosin}\n", "train.scheduler: "),
        (BASE + "train: {seed: -1}\n", "train.seed: "),
        (BASE + "method: {kind: loora}\n", "method.kind: "),
        (BASE + "method: {rank: 0}\n", "method.rank: "),
        (BASE + "method: {kind: freeze}\n", "needs exactly one of"),
        (BASE + "method: {train_last_layers: 2}\n", "need kind freeze"),
        (BASE + "data: {heldout_share: 1}\n", "data.heldout_share: "),
        (BASE + "data: {format: xml}\n", "data.format: "),
        (BASE + "data: {prepare: {}}\n", "data.prepare.script: required, but missing"),
        (BASE + "exports: gguf\n", "exports: "),
        (BASE + "exports: [{formt: gguf}]\n", "exports.0.formt: unknown key"),
        (BASE + "task: {metrics: [bleu]}\n", "task.metrics.0: "),
        (BASE + "bench: {threads: 0}\n", "bench.threads: "),
        (BASE, "data.train: required, unless data.prepare makes the rows"),
        (BASE + "data: {train: no.jsonl}\n", "data.train: no such file: "),
        (BASE + "data: {train: 'hub:a/b', heldout: no.jsonl}\n", "data.heldout: no such file: "),
        (BASE + "data: {prepare: {script: no.py}}\n", "data.prepare.script: no such file: "),
        ("name: a\nmodel: {source: m, chat_template: no.jinja}\n", "model.chat_template: no such file: "),
        ("name: a\nmodel: {source: ./nobase}\ndata: {train: hub:a/b}\n", "model.source: no such model: "),
        ("name: a\nmodel: {source: 'pkg:nopkg/x.gguf'}\ndata: {train: hub:a/b}\n", "model.source: the package 'nopkg'"),
        (BASE + "data: {train: hub:a/b, validation: gone.jsonl}\n", "data.validation: no such file: "),
        (BASE + "data: {prepare: {script: recipe.yaml}, heldout: gone.jsonl}\n", "data.heldout: no such file: "),
        (BASE + "exports: [{format: gguff}]\n", "exports.0.format: no exporter for 'gguff'; installed: "),
        (BASE + "exports: [{}, {quant: [q8]}]\n", "exports.1.quant: unknown GGUF precision 'q8'"),
        (
            BASE + "exports: [{format: onnx, quant: [int8], imatrix: true}]\n",
            "exports.0.imatrix: int8 of onnx has no use for it",
        ),
    ],
)
def test_bad_recipes(capsys, tmp_path, text, says):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    assert main(["recipe", "check", str(file)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert str(file) in err
    assert says in err
    assert "hint: " in err


def test_every_problem_is_listed(capsys, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("name: A\nmodel: {}\ntrain: {epochs: 0, learning_rte: 1}\nmethod: {rank: 0}\n")
    assert main(["recipe", "check", str(file)]) == 3
    err = capsys.readouterr().err
    for key in ("name", "model.source", "train.epochs", "train.learning_rte", "method.rank"):
        assert f"  {key}: " in err


def test_files_that_are_no_recipes(capsys, tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    for path in (binary, tmp_path, tmp_path / "missing.yaml"):
        assert main(["recipe", "check", str(path)]) == 3
        assert "hint: " in capsys.readouterr().err


def test_a_secret_in_a_recipe_is_not_run(capsys, tmp_path):
    """YAML tags make no objects."""
    marker = tmp_path / "made"
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]\n"
    )
    assert main(["recipe", "check", str(file)]) == 3
    assert not marker.exists()
