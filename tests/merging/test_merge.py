"""A tiny trained run, merged: what is evaluated, chosen, stored and written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tinymodels import tiny_model
from tinyruns import write_base, write_run
from transformers import AutoModelForCausalLM

import edgetune
from edgetune import files
from edgetune.adapters.merging import merged_weights
from edgetune.adapters.tuned import tuned_model
from edgetune.errors import EdgetuneError, ExportError, ModelError, ResourceError
from edgetune.evaluation import subjects
from edgetune.evaluation.evaluate import evaluate
from edgetune.merging import merge as merge_module
from edgetune.merging.forms import put_weights
from edgetune.merging.merge import Wanted, merge
from edgetune.merging.record import FILE, load
from edgetune.merging.rounding import measure_rounding
from edgetune.models import load_model
from edgetune.models.nf4 import nf4_round_trip
from edgetune.runtimes.torch_runtime import open_torch

QUANTISED = tuple(
    f"model.layers.{i}.{part}" for i in range(2) for part in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj")
)


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


@pytest.fixture
def qlora(tmp_path, base):
    return write_run(tmp_path / "qlora", base, trained_against="nf4", quantised_modules=QUANTISED)


@pytest.fixture
def lora(tmp_path, base):
    return write_run(tmp_path / "lora", base)


def logits(model):
    with torch.no_grad():
        return model(torch.arange(3, 23).reshape(1, 20)).logits


def test_a_qlora_adapter_goes_into_what_it_was_trained_against(qlora):
    record = merge(qlora)
    assert [form.name for form in record.forms] == ["unmerged", "base", "nf4"]
    assert record.chosen == "nf4"
    assert "it was trained against that" in record.reason
    assert [score.name for score in record.form("nf4").scores] == ["loss", "exact_match"]
    unmerged, nf4, other = (record.form(name).scores[0].value for name in ("unmerged", "nf4", "base"))
    assert nf4 == pytest.approx(unmerged, abs=1e-4)
    assert abs(other - unmerged) > 100 * abs(nf4 - unmerged), "the other base is another model"
    assert record.rows == 6
    assert load(qlora.merge_file) == load(qlora.merged_folder / FILE) == record
    loaded = AutoModelForCausalLM.from_pretrained(qlora.merged_folder).eval()
    torch.testing.assert_close(logits(loaded), logits(open_torch(qlora).model), atol=1e-4, rtol=1e-4)


def test_unmerged_is_computed_beside_the_weights(qlora):
    apart, together = open_torch(qlora, merge=False).model, open_torch(qlora).model
    assert any("lora_A" in name for name, _ in apart.named_parameters())
    assert not any("lora_A" in name for name, _ in together.named_parameters())
    torch.testing.assert_close(logits(apart), logits(together), atol=1e-4, rtol=1e-4)


def test_what_is_evaluated_is_what_is_written(qlora):
    """A base in bfloat16: the merge is rounded to that, and so is what was evaluated."""
    tiny_model("llama").to(torch.bfloat16).save_pretrained(qlora.folder.parent / "base")
    qlora.update_manifest(base_sha256="")
    record = merge(qlora)
    assert record.form("nf4").tensor_types == {"BF16": len(load_file(qlora.merged_folder / "model.safetensors"))}
    weights, model = merged_weights(tuned_model(qlora)), load_model(qlora.folder.parent / "base", dtype="float32")
    put_weights(model, weights)
    written = AutoModelForCausalLM.from_pretrained(qlora.merged_folder, dtype=torch.float32)
    for name, tensor in written.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    name = "model.layers.0.mlp.down_proj.weight"
    assert not np.array_equal(weights.read(name), written.state_dict()[name].numpy()), "bfloat16 rounds"


def test_another_base_than_the_rule_chooses_is_written_if_asked_and_said(qlora):
    record = merge(qlora, Wanted(into="base"))
    assert record.chosen == "base"
    assert record.reason.startswith("as asked; the rule chooses nf4: ")
    assert any("goes on merging into nf4" in note for note in record.notes)
    expected = merged_weights(tuned_model(qlora), "base")
    for name, tensor in load_file(qlora.merged_folder / "model.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), expected.read(name))
    assert merge(qlora, Wanted(into="nf4")).reason.startswith("as asked; as the rule does: ")


def test_a_lora_adapter_has_one_base(lora):
    record = merge(lora)
    assert [form.name for form in record.forms] == ["unmerged", "base"]
    assert record.chosen == "base"
    assert record.rounding is None
    loaded = AutoModelForCausalLM.from_pretrained(lora.merged_folder).eval()
    torch.testing.assert_close(logits(loaded), logits(open_torch(lora).model), atol=1e-4, rtol=1e-4)
    with pytest.raises(ExportError, match="was trained against the base as stored: in a rounded one") as caught:
        merge(lora, Wanted(into="nf4"))
    assert "--into base" in caught.value.hint


def test_the_rounding_beside_what_was_learnt(qlora):
    model = tuned_model(qlora)
    found = measure_rounding(merged_weights(model))
    weights = load_file(model.base_folder / "model.safetensors")
    adapter = load_file(qlora.adapter_folder / "adapter_model.safetensors")
    ratios = []
    for name in QUANTISED:
        a, b = (adapter.get(f"base_model.model.{name}.lora_{part}.weight") for part in "AB")
        if a is not None:  # the adapter has alpha 8 and rank 2
            rounding = weights[f"{name}.weight"] - nf4_round_trip(weights[f"{name}.weight"])
            ratios.append(float(rounding.norm() / (4.0 * b @ a).norm()))
    assert found.layers == len(ratios) == 4
    assert (found.low, found.high) == pytest.approx((min(ratios), max(ratios)), rel=1e-4)
    assert found.median == pytest.approx(np.median(ratios), rel=1e-4)


def test_an_adapter_that_changes_nothing_has_no_ratio(qlora):
    file = qlora.adapter_folder / "adapter_model.safetensors"
    save_file({name: 0 * tensor for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="changes nothing"):
        tuned_model(qlora)
    # As training itself may have left it, where its learning rate was nothing.
    qlora.update_manifest(result_sha256=dict(files.sha256_files(qlora.adapter_folder)))
    assert measure_rounding(merged_weights(tuned_model(qlora))) is None


def test_nothing_is_evaluated_twice(qlora, monkeypatch):
    seen = []

    def counted(subject, conversations, basis):
        seen.append((subject.name, len(basis.rows)))
        return evaluate(subject, conversations, basis)

    monkeypatch.setattr(subjects, "evaluate", counted)
    first = merge(qlora, Wanted(write=False))
    assert seen == [("unmerged", 6), ("merged-base", 6), ("merged-nf4", 6)]
    again = merge(qlora, Wanted(write=False, rows=3))
    assert len(seen) == 3
    assert (first.rows, again.rows) == (6, 3)
    file = qlora.adapter_folder / "adapter_model.safetensors"
    save_file({name: 1.1 * tensor for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    merge(qlora, Wanted(write=False))
    assert len(seen) == 6, "another adapter"


def test_quick_takes_fewer_rows(qlora, monkeypatch):
    monkeypatch.setattr(merge_module, "QUICK_ROWS", 2)
    assert merge(qlora, Wanted(write=False, quick=True)).rows == 2


def test_only_the_choice(qlora):
    record = merge(qlora, Wanted(write=False))
    assert record.output is None
    assert load(qlora.merge_file) == record
    assert not qlora.merged_folder.exists()


def test_from_python(qlora, tmp_path):
    record = edgetune.merge(str(qlora.folder), output=str(tmp_path / "mine"), rows=2)
    assert record.rows == 2
    assert load(tmp_path / "mine" / FILE) == record
    assert not qlora.merged_folder.exists()


def test_another_folder_is_never_replaced(qlora, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for output in (mine, qlora.folder, qlora.folder.parent / "base", mine / "thesis.txt"):
        with pytest.raises(ExportError, match=r"exists, and is not|is a file") as caught:
            merge(qlora, Wanted(output=output))
        assert "--output" in caught.value.hint
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert not qlora.merge_file.exists(), "found out before minutes of evaluation"
    merge(qlora, Wanted(output=tmp_path / "merged", into="base"))
    assert merge(qlora, Wanted(output=tmp_path / "merged")).chosen == "nf4"
    assert load(tmp_path / "merged" / FILE).chosen == "nf4"


def test_what_cannot_be_merged(lora):
    heldout = lora.heldout_file.read_bytes()
    lora.heldout_file.unlink()
    with pytest.raises(EdgetuneError, match="no held-out rows"):
        merge(lora)
    lora.heldout_file.write_bytes(heldout)
    lora.update_manifest(state="training")
    with pytest.raises(EdgetuneError, match="is not trained yet"):
        merge(lora)
    lora.update_manifest(state="trained", trained_against=None, method="full")
    shutil.rmtree(lora.adapter_folder)
    tiny_model("llama").save_pretrained(lora.model_folder)
    with pytest.raises(ModelError, match=r"was trained whole \(full\): there is no adapter to merge") as caught:
        merge(lora)
    assert str(lora.model_folder) in caught.value.hint


def test_a_disk_that_is_too_small_is_found_out_first(qlora, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(ResourceError, match="the merged model needs"):
        merge(qlora)
    assert not qlora.evaluation_file("unmerged").exists()


def test_a_failure_while_writing_leaves_no_half_model(qlora, monkeypatch):
    first = merge(qlora)

    def fail(*_args, **_options):
        raise ModelError("half way")

    monkeypatch.setattr("edgetune.adapters.merged_folder.write_safetensors", fail)
    with pytest.raises(ModelError, match="half way"):
        merge(qlora, Wanted(into="base"))
    assert load(qlora.merge_file) == load(qlora.merged_folder / FILE) == first
    assert (qlora.merged_folder / "model.safetensors").is_file()
