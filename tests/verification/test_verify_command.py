"""``edgetune verify`` from the command line."""

from __future__ import annotations

import json
import shutil

from edgetune.cli import main
from edgetune.exporting import export


def test_a_run_and_all_its_exports(make_run, capsys):
    run = make_run()
    export(run, "gguf", "f32")
    export(run, "gguf", "f16")
    assert main(["verify", str(run.folder), "--quick"]) == 0
    out = capsys.readouterr().out
    assert "tiny-f16: verified, task not judged (16 bits" in out
    assert "tiny-f32: verified, task not judged (32 bits" in out
    assert main(["verify", str(run.folder), "--artifact", "f16", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["kind"] == "edgetune-verification"
    assert found["artifact"] == "tiny-f16"


def test_an_artifact_elsewhere(make_run, tmp_path, capsys):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    moved = tmp_path / "elsewhere"
    shutil.copytree(artifact.path, moved)
    assert main(["verify", str(moved)]) == 8
    assert "--run RUN" in capsys.readouterr().err
    assert main(["verify", str(moved), "--run", str(run.folder), "--quick", "--portable"]) == 0
    assert main(["verify", str(moved)]) == 0
    assert "as it travels with the artifact" in capsys.readouterr().out


def test_another_runs_artifact_fails_with_its_reasons(make_run, capsys):
    artifact = export(make_run(1), "gguf", "f16")
    assert main(["verify", str(artifact.path), "--run", str(make_run(2).folder), "--quick"]) == 9
    captured = capsys.readouterr()
    assert "FAIL weights" in captured.out
    assert "likely cause:" in captured.out
    assert "error: tiny-f16 is not the trained model: " in captured.err


def test_bad_subjects(make_run, tmp_path, capsys):
    run = make_run()
    assert main(["verify", str(tmp_path / "nothing")]) == 8
    assert main(["verify", str(run.folder)]) == 8
    assert "has no exports" in capsys.readouterr().err
    bare = shutil.copy(export(run, "gguf", "f16").main_file, tmp_path / "bare.gguf")
    assert main(["verify", str(bare), "--run", str(run.folder)]) == 8
    assert "has no manifest" in capsys.readouterr().err
