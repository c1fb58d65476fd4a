"""Damage that no reader foresaw, and machines that lack something, end in findings and messages, not in a bug."""

from __future__ import annotations

import errno
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from faults import fit_manifest, rewrite, swap_rows
from faults_onnx import edit_graph

from edgetune.artifact import write_manifest
from edgetune.cli import main
from edgetune.errors import ArtifactError, EdgetuneError, ResourceError
from edgetune.exporting import Wanted, export, find_source
from edgetune.runtimes.pairing import on_base
from edgetune.verification import phases, verify
from edgetune.verification.on_device import verify_portable
from edgetune.verification.portable import PORTABLE
from edgetune.verification.record import Depth, load, warning
from edgetune.verification.subjects import Wanted as Verify
from edgetune.verification.subjects import verify_path
from edgetune.verification.text import summary_line, to_text
from edgetune.verification.verify import Verifier, _stored_precision


def failed(run, artifact):
    found = Verifier(run, quick=True).verify(artifact)
    assert not found.passed
    assert load(artifact) == found
    return {check.name: check for check in found.failed}


@pytest.mark.parametrize(
    "name", ["genai_config.json", "config.json", "generation_config.json", "tokenizer_config.json"]
)
def test_a_settings_file_that_is_a_list(make_run, name):
    run = make_run(intermediate_size=128)
    artifact = export(run, "onnx", "fp32")
    (artifact.path / name).write_text("[]")
    assert "metadata" in failed(run, fit_manifest(artifact))


def without_input(model):
    del next(node for node in model.graph.node if "down_proj" in node.name).input[1:]


def without_scales(model):
    found = next(one for one in model.graph.initializer if "down_proj.MatMul.weight_scales" in one.name)
    model.graph.initializer.remove(found)


@pytest.mark.parametrize(("precision", "change"), [("fp32", without_input), ("int8", without_scales)])
def test_a_graph_with_a_hole(make_run, precision, change):
    run = make_run(intermediate_size=128)
    assert "weights" in failed(run, edit_graph(export(run, "onnx", precision), change))


def test_a_manifest_of_a_format_that_nobody_writes(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    odd = write_manifest(artifact.path, artifact.manifest.model_copy(update={"format": "nonsense"}))
    assert "nonsense" in failed(run, odd)["metadata"].text


def test_a_file_that_was_not_exported(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    (artifact.path / "onnx").mkdir()
    for name in ("README.md", "._config.json", "onnx/._model_q4.onnx"):  # macOS puts the latter two on an exFAT card
        (artifact.path / name).write_text("mine")
    assert Verifier(run, quick=True).verify(artifact).passed
    (artifact.path / "chat_template.json").write_text("{}")
    assert failed(run, artifact)["file"].problems[0].startswith("chat_template.json: not in the manifest")


def separate(run, base="f32"):
    parts = find_source(str(run.folder)).parts(Wanted("gguf", separate=True, with_base=base))
    below, adapter = (part.write() for part in parts)
    return below, on_base(adapter, below)


def transposed(name, values, kind):
    return (values.T.copy(), kind) if name == "blk.0.attn_q.weight.lora_b" else (values, kind)


def test_an_adapter_with_a_matrix_on_its_side_or_without_alpha(make_run):
    run = make_run()
    _, adapter = separate(run)
    assert "weights" in failed(run, on_base(rewrite(adapter, edit=transposed), adapter.beneath))
    _, adapter = separate(run)
    assert "weights" in failed(run, on_base(rewrite(adapter, drop=("adapter.lora.alpha",)), adapter.beneath))


def test_a_verification_on_a_wrong_base_says_nothing_about_the_right_one(make_run, capsys):
    run, other = make_run(0), make_run(1)
    _, adapter = separate(run)
    strange, _ = separate(other)
    verifier = Verifier(run, quick=True)
    assert verifier.verify(adapter, portable=True).passed
    good = load(adapter)
    capsys.readouterr()
    assert not verifier.verify(on_base(adapter, strange), portable=True).passed
    assert load(adapter) == good
    assert (adapter.path / PORTABLE).is_file()
    assert "the adapter failed on a base that it was not made for" in capsys.readouterr().err
    assert warning(adapter) is None
    assert warning(replace(adapter, beneath=strange)) == "tiny-adapter-f16 was verified on another base than this one"


def test_a_base_from_elsewhere_is_judged_by_its_types_not_its_name(make_run, tmp_path):
    base, _ = separate(make_run(), "q4_0")
    bare = shutil.copy(base.main_file, tmp_path / "model-q8_0.gguf")
    assert _stored_precision(replace(base, path=tmp_path / "model-q8_0.gguf", manifest=None)) == "q4_0", bare


def test_a_base_for_what_runs_on_none_is_refused(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    with pytest.raises(ArtifactError, match="is no adapter, so it runs on no base"):
        verify_path(artifact.path, Verify(base=artifact.path))


def test_without_torch_what_travels_is_taken_or_the_extra_is_named(make_run, monkeypatch, capsys):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        assert main(["verify", str(run.folder)]) == 11
        assert "edgetune[train]" in capsys.readouterr().err
    Verifier(run, quick=True).verify(artifact, portable=True)
    monkeypatch.setitem(sys.modules, "torch", None)
    capsys.readouterr()
    assert main(["verify", str(artifact.path)]) == 0
    captured = capsys.readouterr()
    assert "comparing with reference.json" in captured.err
    assert "as it travels with the artifact" in captured.out


def test_lost_rows_are_told_before_anything_is_written(make_run):
    run = make_run()
    run.heldout_file.unlink()
    assert main(["export", str(run.folder), "--quant", "f16"]) == EdgetuneError.exit_code
    assert not run.exports_folder.exists()
    assert main(["export", str(run.folder), "--quant", "f16", "--no-verify"]) == 0


def raising(error):
    def fail(*_args, **_options):
        raise error

    return fail


@pytest.mark.parametrize("error", [MemoryError("9 bytes"), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_says_nothing_about_the_artifact(make_run, monkeypatch, error):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    verifier = Verifier(run, quick=True)
    good = verifier.verify(artifact, portable=True)
    for place in ("check_distributions", "check_metadata"):
        with monkeypatch.context() as patch:
            patch.setattr(phases if place == "check_distributions" else verify, place, raising(error))
            with pytest.raises(ResourceError, match="not enough memory: "):
                verifier.verify(artifact)
    assert load(artifact) == good
    assert (artifact.path / PORTABLE).is_file()


def test_what_could_not_be_judged_keeps_what_travels_and_a_failure_is_told_where_that_cannot_be_removed(
    make_run, monkeypatch, capsys
):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    verifier = Verifier(run, depth=Depth(rows=8, answers=4))
    assert verifier.verify(artifact, portable=True).passed
    with monkeypatch.context() as patch:
        patch.setattr(verify, "check_metadata", raising(KeyError("odd")))
        assert "metadata" in failed(run, artifact), "a quick one that fails is stored over a fuller one that passed"
    assert "stays: the artifact could not be judged" in capsys.readouterr().err
    assert (artifact.path / PORTABLE).is_file()
    assert not verify_portable(artifact).passed
    swapped = rewrite(artifact, edit=swap_rows)
    with monkeypatch.context() as patch:
        refused, real = raising(OSError(errno.EACCES, "Permission denied")), Path.unlink
        patch.setattr(Path, "unlink", lambda path, **ways: (refused if path.name == PORTABLE else real)(path, **ways))
        assert not verifier.verify(swapped, portable=True).passed
    told = capsys.readouterr().err
    assert "warning: the artifact failed, and its reference.json cannot be removed: " in told
    assert "is left" not in told


def test_what_was_not_judged_is_said(make_run):
    run = make_run()
    found = Verifier(run, quick=True).verify(export(run, "gguf", "f16"))
    assert to_text(found).startswith("tiny-f16: verified, task not judged (16 bits")
    assert "task: not judged: training gained nothing" in summary_line(found)
