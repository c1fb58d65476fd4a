"""``edgetune merge`` from the command line."""

from __future__ import annotations

import json

import pytest
from tinyruns import write_base, write_run

from edgetune.cli import main

QUANTISED = tuple(f"model.layers.{i}.{part}" for i in range(2) for part in ("self_attn.q_proj", "mlp.down_proj"))


@pytest.fixture
def run(tmp_path):
    base = write_base(tmp_path / "base")
    return write_run(tmp_path / "run", base, trained_against="nf4", quantised_modules=QUANTISED)


def test_forms_figures_choice_and_place(run, capsys):
    assert main(["merge", str(run.folder), "--rows", "4"]) == 0
    out = capsys.readouterr().out
    assert "run: adapter trained against the base rounded to NF4; 4 held-out rows, float32 torch" in out
    for form in ("unmerged", "merged into the base as stored", "merged into the base rounded to NF4"):
        assert f"  {form} " in out
    assert "‖W16 - dequant(W4)‖/‖ΔW‖ in a layer: median " in out
    assert "chosen: the base rounded to NF4; it was trained against that" in out
    assert "rule: the adapter goes into what it was trained against, unless" in out
    assert f"written: {run.merged_folder} (" in out


def test_json_alone_on_stdout(run, capsys):
    assert main(["merge", str(run.folder), "--into", "base", "--no-write", "--json", "--quick"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert (found["kind"], found["chosen"], found["output"]) == ("edgetune-merge", "base", None)
    assert found == json.loads(run.merge_file.read_text())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone"], 1, "gone is not a run folder"),
        (["run", "--rows", "0"], 2, "--rows"),
        (["run", "--into", "q4_0"], 2, "--into"),
        (["run", "--output", "base"], 7, "is not a model that `edgetune merge` wrote"),
    ],
)
def test_bad_command_lines(run, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(run.folder.parent)
    assert main(["merge", *words]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "hint: " in err
