"""Real weights through llama.cpp: good artifacts pass in every class of precision, faults on them are caught."""

from __future__ import annotations

import shutil

import pytest
from faults import export_with, other_adapter, rewrite

from edgetune.adapters.tuned import tuned_model
from edgetune.cli import main
from edgetune.exporting import export


def found(verification):
    return {check.name: check for check in verification.checks}


@pytest.mark.parametrize("precision", ["f16", "q8_0", "q6_k"])
def test_good_artifacts(run, verifier, tmp_path, precision):
    verification = verifier.verify(export(run, "gguf", precision, tmp_path))
    assert verification.failed == ()
    assert verification.passed


def test_the_wrong_base_fails(run, verifier, tmp_path):
    artifact = export(run, "gguf", "q8_0", tmp_path)
    planted = export_with(tuned_model(run), "q8_0", artifact, trained_against="base", quantised_modules=())
    checks = found(verifier.verify(planted))
    assert "merged into the 16-bit base" in checks["weights"].cause
    assert checks["prompts"].passed


def test_one_layer_without_its_adapter_fails(run, verifier, tmp_path):
    def silence(settings, tensors):
        for name in tensors:
            if ".layers.17.mlp" in name and "lora_B" in name:
                tensors[name] = 0 * tensors[name]

    artifact = export(run, "gguf", "q4_0", tmp_path)
    bad = other_adapter(tuned_model(run), tmp_path / "bad", silence)
    checks = found(verifier.verify(export_with(tuned_model(run), "q4_0", artifact, adapter_folder=bad)))
    assert "left out" in checks["weights"].cause
    assert len({p.partition(":")[0] for p in checks["weights"].problems if p.startswith("blk.17.ffn")}) == 3


def test_a_wrong_end_token_fails(run, verifier, tmp_path):
    artifact = export(run, "gguf", "q8_0", tmp_path)
    ids = {"tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 0}
    checks = found(verifier.verify(rewrite(artifact, ids)))
    assert checks["metadata"].passed is False


def test_a_copy_is_verified_by_what_travels_with_it(run, verifier, tmp_path, capsys):
    artifact = export(run, "gguf", "q8_0", tmp_path)
    verifier.verify(artifact, portable=True)
    copy = tmp_path / "device"
    shutil.copytree(artifact.path, copy)
    assert main(["verify", str(copy)]) == 0
    assert "a lower bound" in capsys.readouterr().out
    data = bytearray((copy / "real-q8_0.gguf").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "real-q8_0.gguf").write_bytes(data)
    assert main(["verify", str(copy)]) == 9
