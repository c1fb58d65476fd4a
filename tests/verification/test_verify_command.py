"""``edgetune verify`` from the command line."""

from __future__ import annotations

import json
import shutil

from edgetune.cli import main
from edgetune.exporting import Wanted, export, find_source
from edgetune.exporting_parts import write_parts


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


def test_what_stops_one_export_does_not_stop_the_others(make_run, capsys):
    run = make_run()
    separate = find_source(str(run.folder)).parts(Wanted("gguf", separate=True))
    (alone,), good = write_parts(separate), export(run, "gguf", "f32")
    damaged, empty = (export(run, "gguf", name).path / "manifest.json" for name in ("f16", "bf16"))
    assert main(["verify", str(run.folder), "--artifact", "f32", "--quick"]) == 0
    assert main(["verify", str(run.folder), "--quick"]) == 8
    captured = capsys.readouterr()
    assert "tiny-f16: verified" in captured.out
    assert f"{alone.path} is an adapter, and its base" in captured.err
    damaged.write_text(damaged.read_text()[:200])
    empty.write_text("")
    good.main_file.write_bytes(good.main_file.read_bytes()[:-1] + b"\x7f")
    assert main(["verify", str(run.folder), "--quick"]) == 9
    captured = capsys.readouterr()
    assert "FAIL file" in captured.out
    assert "tiny-f32 is not the trained model: file" in captured.err
    for path in (alone.path, damaged, empty):
        assert str(path) in captured.err


def test_where_nothing_can_be_looked_at_every_reason_is_said(make_run, capsys):
    run = make_run()
    for name in ("f16", "f32"):
        (export(run, "gguf", name).path / "manifest.json").write_text("")
    assert main(["verify", str(run.folder), "--quick"]) == 8
    error = capsys.readouterr().err
    assert "2 exports could not be verified" in error
    assert "f16/manifest.json" in error
    assert "f32/manifest.json" in error


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
