"""An adapter kept apart is verified on its base: good pairs pass, faults of either are caught."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from faults import flip_a_byte, other_adapter, rewrite, tame_magnitudes

from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import open_artifact, write_manifest
from edgetune.cli.export import export as export_command
from edgetune.errors import ArtifactError
from edgetune.evaluation.report import Wanted as Report
from edgetune.evaluation.report import report
from edgetune.exporting import Wanted, find_source
from edgetune.runtimes.choosing import choose_artifact
from edgetune.runtimes.pairing import on_base
from edgetune.verification.record import load
from edgetune.verification.subjects import Wanted as Verify
from edgetune.verification.subjects import verify_path
from edgetune.verification.verify import Verifier, verify_portable


def separate(run, base="f32", precision="f16"):
    parts = find_source(str(run.folder)).parts(Wanted("gguf", (precision,), separate=True, with_base=base))
    below, adapter = (part.write() for part in parts)
    return below, on_base(adapter, below)


def failed(run, adapter):
    found = Verifier(run, quick=True).verify(adapter)
    return {check.name: check for check in found.failed}


@pytest.mark.parametrize("seed", range(20))
def test_good_pairs_pass(make_run, seed):
    method = ("lora", "qlora", "rslora", "dora")[seed % 4]
    run = make_run(seed, method, tie_word_embeddings=seed % 8 < 4)
    if method == "dora":
        tame_magnitudes(run)
    verifier = Verifier(run, quick=True)
    for base, precision in (("f32", "f32"), ("f32", "f16"), ("q8_0", "f16"), ("q4_k_m", "f16")):
        found = verifier.verify(separate(run, base, precision)[1])
        lossy = {"distributions", "endings"} if base[:2] == "q4" or method == "dora" else set()
        assert {check.name for check in found.failed} <= lossy, found.failed
        assert found.precision_class == {"f32": "32 bits", "q8_0": "8 bits", "q4_k_m": "4 bits"}[base]


def test_rslora_at_the_scale_that_llama_cpp_would_give_it(make_run):
    run = make_run(0, "rslora", rank=9)
    _, adapter = separate(run)
    alpha = json.loads((run.adapter_folder / "adapter_config.json").read_text())["lora_alpha"]
    weak = rewrite(adapter, {"adapter.lora.alpha": alpha / 3})
    found = failed(run, on_base(weak, adapter.beneath))
    assert set(found) >= {"metadata", "weights"}
    assert "another scale" in found["weights"].cause
    assert any("holds 0.33" in problem for problem in found["weights"].problems)


def test_an_older_adapter_a_missing_layer_and_a_stray_one(make_run):
    run = make_run(0)
    _, adapter = separate(run)

    def drop(name, values, kind):
        return None if name.startswith("blk.1.ffn_down") else (values, kind)

    lacking = failed(run, on_base(rewrite(adapter, edit=drop), adapter.beneath))
    assert "left out" in lacking["weights"].cause

    def change(settings, tensors):
        for name in tensors:
            tensors[name] = tensors[name] + 0.02 * torch.randn(tensors[name].shape)

    shutil.rmtree(adapter.path)
    stale = other_adapter(tuned_model(run), run.folder / "older", change)
    kept, run_adapter = run.folder / "kept", run.adapter_folder
    run_adapter.rename(kept)
    stale.rename(run_adapter)
    _, older = separate(run)
    shutil.rmtree(run_adapter)
    kept.rename(run_adapter)
    assert "weights" in failed(run, older)


def test_a_manifest_cannot_hide_what_is_lost(make_run):
    run = make_run(0)
    _, adapter = separate(run)
    name = "blk.0.attn_k.weight"
    lost = rewrite(adapter, edit=lambda n, v, kind: (0 * v, kind) if n == f"{name}.lora_b" else (v, kind))
    hidden = write_manifest(lost.path, lost.manifest.model_copy(update={"missing": {name: 1.0}}))
    found = failed(run, on_base(hidden, adapter.beneath))
    assert f"manifest.json: missing of {name} is 1, should be 0" in found["metadata"].problems


def test_a_changed_byte_of_the_base_fails_the_adapter(make_run):
    run = make_run(0)
    base, adapter = separate(run)
    assert Verifier(run, quick=True).verify(adapter).passed
    flip_a_byte(base)
    found = Verifier(run, quick=True).verify(adapter, again=False)
    assert [check.name for check in found.failed] == ["file"]


def test_another_base_is_a_failure_with_the_reason(make_run):
    run, other = make_run(0, "qlora"), make_run(1, "lora")
    _, adapter = separate(run)
    strange, _ = separate(other)
    found = failed(run, on_base(adapter, strange))
    assert "belongs to another base" in found["prompts"].text


def test_a_verification_on_one_base_is_none_on_another(make_run):
    run = make_run(0)
    verifier = Verifier(run, quick=True)
    _, first = separate(run, "f32")
    _, second = separate(run, "f16")
    assert verifier.verify(first).created
    found = verifier.verify(second, again=False)
    assert found.sha256 == second.sha256 != first.sha256
    assert load(open_artifact(second.path)) == found


def test_the_command_writes_verifies_and_shares_the_base(make_run, tmp_path):
    run = make_run(0)
    arguments = [str(run.folder), "--adapter", "separate", "--with-base", "q8_0"]
    result = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "adapter of tiny as f16" in result.stderr
    assert "tiny-adapter-f16: verified, task not judged (8 bits; " in result.stderr
    assert load(open_artifact(run.exports_folder / "adapter-f16")).passed
    manifest = open_artifact(run.exports_folder / "base-q8_0").manifest
    assert (manifest.weights, manifest.run, manifest.system) == ("base", None, None)
    again = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    assert again.stderr.count("is up to date") == 2
    # The base says nothing of the run: another run's export finds it up to date.
    other = shutil.copytree(run.folder, run.folder.with_name("second"))
    recipe = other / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("Be brief", "Be long"))
    moved = CliRunner().invoke(export_command, [str(other), *arguments[1:]], catch_exceptions=False)
    assert f"{other}/exports/base-q8_0 is up to date" in moved.stderr
    assert f"{other}/exports/adapter-f16 is up to date" not in moved.stderr
    # Whoever asks for the run's result does not get the base.
    assert choose_artifact(run.folder).artifact.name == "tiny-adapter-f16"
    text = report(str(run.folder), Report(base=False, artifacts=True))
    assert [evaluation.subject for evaluation in text.evaluations] == ["tuned", "tiny-adapter-f16"]


def test_without_a_base_an_adapter_cannot_be_verified_and_says_so(make_run, tmp_path):
    run = make_run(0)
    result = CliRunner().invoke(export_command, [str(run.folder), "--adapter", "separate"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "is not verified: it needs its base" in result.stderr
    with pytest.raises(ArtifactError, match=r"its base .* is not beside it") as caught:
        verify_path(run.exports_folder / "adapter-f16", Verify())
    assert "--with-base" in caught.value.hint
    base, _ = separate(run, "q8_0")
    moved = shutil.move(base.path, tmp_path / "elsewhere")
    (found,) = verify_path(run.exports_folder / "adapter-f16", Verify(base=moved, quick=True)).found
    assert found.passed
    with pytest.raises(ArtifactError, match="is an untuned base"):
        verify_path(moved, Verify())


def test_a_device_without_torch_verifies_the_pair(make_run, tmp_path):
    run = make_run(0)
    _, adapter = separate(run)
    Verifier(run, quick=True).verify(adapter, portable=True)
    shutil.copytree(run.exports_folder, tmp_path / "device")
    copy = on_base(open_artifact(tmp_path / "device/adapter-f16"))
    assert verify_portable(copy).passed
