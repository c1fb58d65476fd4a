"""Good artifacts pass, and every planted fault is caught by the check that is meant to."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import gguf
import pytest
from faults import (
    drop_magnitudes,
    export_with,
    flip_a_byte,
    forget_rslora,
    older,
    other_adapter,
    rewrite,
    silence_layer,
    swap_rows,
)
from rowfiles import write_rows
from tinyexports import TEMPLATE
from tinyruns import ROWS
from verdicts import failed

from edgetune.adapters.lora import LoadedChange
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import open_artifact, write_manifest
from edgetune.errors import ArtifactError
from edgetune.exporting import export, export_model, find_source, weighted
from edgetune.verification.portable import PORTABLE, manifests_of, seal
from edgetune.verification.record import FILE, load, warning
from edgetune.verification.verify import Verifier, verify_portable

APPLY = LoadedChange.apply
EOS, BOS = "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_bos_token"


def verdicts(verification):
    return {check.name: check.passed for check in verification.checks}


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm(make_run, seed):
    method = ("lora", "qlora", "rslora", "dora")[seed % 4]
    verifier = Verifier(run := make_run(seed, method, tie_word_embeddings=seed % 8 < 4), quick=True)
    for precision in ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_0", "q4_k_m", "iq4_nl"):
        found = verifier.verify(export(run, "gguf", precision))
        # Four bits are too few for a network this small and random: only what bits cannot excuse is held against them.
        lossy = {"distributions", "endings"} if precision[:2] in ("q4", "iq", "q5", "q6") else set()
        assert {check.name for check in found.failed} <= lossy, found.failed


@pytest.mark.parametrize("precision", ["q5_0", "q4_0", "q4_k_m", "iq4_nl", "q3_k_m"])
@pytest.mark.parametrize("strength", [0.02, 0.002])
def test_hardly_trained_and_trained_on(make_run, tmp_path, precision, strength):
    """Where a fine-tune is far smaller than the rounding, its own file is told from that of an older adapter."""
    run = make_run(method="qlora", strength=strength)
    artifact = export(run, "gguf", precision)
    assert weights_of(run, artifact).passed
    stale = export_with(tuned_model(run), precision, artifact, adapter_folder=bad_adapter(run, tmp_path, older))
    found = weights_of(run, stale)
    assert found.passed is False
    assert "of the trained weights" in " ".join(found.problems)


def weights_of(run, artifact):
    (check,) = [c for c in Verifier(run, quick=True).verify(artifact).checks if c.name == "weights"]
    return check


def test_an_importance_matrix_is_rounded_with_again(make_run, tmp_path):
    run = make_run(method="qlora", strength=0.005)
    write_rows(run.data_folder / "train.jsonl", ROWS)
    source = weighted(find_source(str(run.folder)), "gguf", "auto")
    artifact = export_model(source.model, "gguf", "q4_0", run.exports_folder)
    assert weights_of(run, artifact).passed
    other = replace(source.model, adapter_folder=bad_adapter(run, tmp_path, older))
    shutil.rmtree(artifact.path)
    stale = export_model(other, "gguf", "q4_0", artifact.path.parent)
    assert weights_of(run, stale).passed is False


def test_what_is_stored(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    found = Verifier(run, quick=True).verify(artifact)
    assert verdicts(found) == {
        "file": True,
        "metadata": True,
        "weights": True,
        "prompts": True,
        "distributions": True,
        "endings": True,
        "task": None,  # a random adapter gains nothing
        "loss": None,
    }
    assert found.passed
    assert load(artifact) == found
    assert warning(artifact) is None
    assert (run.folder / "evaluations/tuned.json").is_file()


def bad_adapter(run, tmp_path, change):
    return other_adapter(tuned_model(run), tmp_path / "bad", change)


@pytest.mark.parametrize("precision", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize(
    ("method", "change", "cause"),
    [
        ("lora", silence_layer, "of these layers was left out"),
        ("rslora", forget_rslora, "another adapter|another scale"),
        ("dora", drop_magnitudes, "another adapter|rounded more than once"),
        ("lora", older, "another adapter"),
        ("qlora", older, "another adapter"),
    ],
)
def test_faults_of_the_adapter(make_run, tmp_path, precision, method, change, cause):
    run = make_run(method=method)
    artifact = export(run, "gguf", precision)
    planted = export_with(tuned_model(run), precision, artifact, adapter_folder=bad_adapter(run, tmp_path, change))
    found = Verifier(run, quick=True).verify(planted)
    (check,) = [check for check in found.checks if check.name == "weights"]
    assert check.passed is False
    assert any(part in check.cause for part in cause.split("|"))


@pytest.mark.parametrize("precision", ["f16", "q8_0", "q4_0"])
def test_a_merge_into_the_wrong_base(make_run, precision):
    run = make_run(method="qlora")
    artifact = export(run, "gguf", precision)
    planted = export_with(tuned_model(run), precision, artifact, trained_against="base", quantised_modules=())
    found = Verifier(run, quick=True).verify(planted)
    (check,) = [check for check in found.failed if check.name == "weights"]
    assert "merged into the 16-bit base" in check.cause


def test_no_adapter_at_all(make_run):
    run = make_run()
    artifact = export(run, "gguf", "q8_0")
    planted = export_with(tuned_model(run), "q8_0", artifact, adapter_folder=None, trained_against=None)
    assert "weights" in failed(run, planted)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({EOS: 258, "tokenizer.ggml.eot_token_id": 258}, {"metadata"}),
        ({BOS: True}, {"metadata"}),
        ({"tokenizer.chat_template": TEMPLATE.replace("assistant", "model")}, {"metadata", "prompts"}),
        ({"llama.rope.freq_base": 5000.0}, {"metadata", "distributions"}),
    ],
)
def test_faults_of_the_metadata(make_run, keys, expected):
    run = make_run()
    artifact = rewrite(export(run, "gguf", "f16"), keys)
    assert failed(run, artifact) >= expected


def test_another_type_than_asked_for(make_run):
    run = make_run()
    better = lambda name, values, kind: (values.copy(), "F16") if name == "blk.0.attn_q.weight" else (values, kind)  # noqa: E731
    found = Verifier(run, quick=True).verify(rewrite(export(run, "gguf", "q8_0"), edit=better))
    (check,) = [check for check in found.failed if check.name == "metadata"]
    assert check.problems == ("1 tensors are F16 where Q8_0 was asked for",)


def round_twice(name, values, kind):
    if kind != "Q8_0":
        return values, kind
    coarse, type_ = gguf.quants, gguf.GGMLQuantizationType.Q4_0
    return coarse.dequantize(coarse.quantize(values, type_), type_), kind


def test_rows_in_another_order(make_run):
    run = make_run()
    assert failed(run, rewrite(export(run, "gguf", "f16"), edit=swap_rows)) >= {"weights", "distributions"}


def test_weights_rounded_twice(make_run):
    run = make_run()
    assert "weights" in failed(run, rewrite(export(run, "gguf", "q8_0"), edit=round_twice))


def test_a_wrong_tie_flag(make_run):
    run = make_run(tie_word_embeddings=False)
    leave_out = lambda name, values, kind: None if name == "output.weight" else (values, kind)  # noqa: E731
    assert failed(run, rewrite(export(run, "gguf", "f16"), edit=leave_out)) >= {"weights", "distributions"}


def test_a_truncated_vocabulary(make_run):
    run = make_run(tie_word_embeddings=True)
    artifact = export(run, "gguf", "f16")
    keys = {}
    reader = gguf.GGUFReader(artifact.main_file)
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
        keys[key] = reader.fields[key].contents()[:264]
    keys["llama.vocab_size"] = 264
    cut = lambda name, values, kind: (values[:264].copy(), kind) if name == "token_embd.weight" else (values, kind)  # noqa: E731
    assert failed(run, rewrite(artifact, keys, cut)) >= {"metadata", "weights", "distributions"}


def test_one_flipped_bit(make_run):
    run = make_run()
    artifact = flip_a_byte(export(run, "gguf", "q8_0"))
    assert failed(run, artifact) == {"file"}


def reseal(artifact, **changes):
    """Change what travels, as somebody would who wants to deceive."""
    path = artifact.path / PORTABLE
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content | {"seal": seal(content)}))


def test_portable_needs_neither_run_nor_torch(make_run, tmp_path):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    with pytest.raises(ArtifactError, match=f"carries no {PORTABLE}"):
        verify_portable(artifact)
    Verifier(run, quick=True).verify(artifact)
    assert not (artifact.path / PORTABLE).exists(), "held-out rows travel only if asked to"
    Verifier(run, quick=True).verify(artifact, portable=True)
    found = verdicts(verify_portable(artifact))
    assert list(found) == ["file", "metadata", "prompts", "distributions", "endings"]
    assert set(found.values()) == {True}
    swapped = rewrite(artifact, edit=swap_rows)
    with pytest.raises(ArtifactError, match="belongs to other files"):
        verify_portable(swapped)
    reseal(artifact, sha256=swapped.manifest.sha256, manifests=manifests_of(swapped))
    assert "distributions" in [check.name for check in verify_portable(swapped).failed]
    assert "is unverified: it failed distributions" in warning(swapped)
    (artifact.path / PORTABLE).write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        verify_portable(artifact)


def test_a_verification_counts_for_its_files_only(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    Verifier(run, quick=True).verify(artifact)
    assert load(rewrite(artifact, edit=swap_rows)) is None
    (artifact.path / FILE).write_text("{")
    assert load(artifact) is None


def test_a_quick_look_does_not_replace_a_thorough_one(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    thorough = Verifier(run).verify(artifact)
    assert Verifier(run, quick=True).verify(artifact, again=False) == thorough
    assert Verifier(run, quick=True).verify(artifact) != thorough
    assert load(artifact) == thorough


def test_a_wrong_merge_of_our_own_is_seen(make_run, monkeypatch):
    run = make_run()
    weaker = lambda self, *given: APPLY(replace(self, scale=0.8 * self.scale), *given)  # noqa: E731
    monkeypatch.setattr(LoadedChange, "apply", weaker)
    artifact = export(run, "gguf", "q8_0")
    assert "weights" in failed(run, artifact)


def test_a_missing_tensor_and_half_a_copy_get_a_verdict(make_run):
    run = make_run()
    leave_out = lambda name, values, kind: None if name == "blk.1.ffn_up.weight" else (values, kind)  # noqa: E731
    found = Verifier(run, quick=True).verify(rewrite(export(run, "gguf", "f16"), edit=leave_out))
    assert {check.name for check in found.failed} >= {"weights", "prompts"}
    artifact = export(run, "gguf", "q8_0")
    data = artifact.main_file.read_bytes()
    artifact.main_file.write_bytes(data[: len(data) // 2])
    assert failed(run, artifact) == {"file"}


def test_a_short_context_gets_a_verdict(make_run):
    run = make_run()
    artifact = rewrite(export(run, "gguf", "f16"), {"llama.context_length": 16})
    assert failed(run, artifact) >= {"metadata"}


def test_a_manifest_that_says_otherwise(make_run):
    run = make_run()
    artifact = export(run, "gguf", "f16")
    write_manifest(artifact.path, artifact.manifest.model_copy(update={"stop_ids": (7,), "system": "Be rude"}))
    found = Verifier(run, quick=True).verify(open_artifact(artifact.path))
    (check,) = found.failed
    assert [problem.split()[1] for problem in check.problems] == ["stop_ids", "system"]
