"""Runs, artifacts and models evaluated for real, on tiny random weights."""

from __future__ import annotations

import json
from functools import partial

import pytest
from tinygguf import write_tiny_gguf
from tinymodels import tiny_tokenizer

from edgetune import files
from edgetune.data.reading import load_rows
from edgetune.errors import DataError, EdgetuneError, ModelError
from edgetune.evaluation.evaluate import Subject, evaluate
from edgetune.evaluation.loss import torch_losses
from edgetune.evaluation.record import load
from edgetune.evaluation.report import Wanted, report
from edgetune.evaluation.subjects import choose_rows, evaluate_run
from edgetune.models import hash_tokenizer, load_tokenizer
from edgetune.models.gguf_base import dequantised
from edgetune.models.loading import load_model
from edgetune.recipe import resolve
from edgetune.run import create_run
from edgetune.runtimes import open_runtime
from edgetune.runtimes.torch_runtime import TorchRuntime


def test_base_and_tuned_in_torch_differ_and_are_stored(make_run):
    run = make_run()
    base, tuned = evaluate_run(run, "base"), evaluate_run(run, "tuned")
    assert (base.runtime, base.n, tuned.n) == ("torch", 6, 6)
    assert base.score("loss").value != tuned.score("loss").value
    assert load(run.evaluation_file("base")) == base
    assert load(run.evaluation_file("tuned")) == tuned
    assert tuned.answers[0].prompt.startswith("<|im_start|>system\nBe brief<|im_end|>")


def test_a_stored_evaluation_is_used_until_something_it_rests_on_changes(make_run, counted, other_adapter):
    run = make_run()
    first = evaluate_run(run, "tuned", limit=2)
    assert evaluate_run(run, "tuned", limit=2) == first
    assert counted == ["tuned"]
    evaluate_run(run, "tuned", limit=2, again=True)
    evaluate_run(run, "tuned", limit=3)
    (run.adapter_folder / "adapter_model.safetensors").write_bytes(other_adapter)
    evaluate_run(run, "tuned", limit=3)
    with run.heldout_file.open("a") as file:
        file.write(json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}))
    evaluate_run(run, "tuned", limit=3)
    assert counted == ["tuned"] * 5


def test_a_stored_evaluation_does_not_stand_for_a_changed_tokenizer(make_run):
    run = make_run()
    run.update_manifest(tokenizer_sha256=hash_tokenizer(load_tokenizer(run.tokenizer_folder)))
    evaluate_run(run, "tuned")
    path = run.tokenizer_folder / "tokenizer.json"
    vocabulary = json.loads(path.read_text())
    first, second, *_ = vocabulary["model"]["vocab"]
    words = vocabulary["model"]["vocab"]
    words[first], words[second] = words[second], words[first]
    path.write_text(json.dumps(vocabulary))
    with pytest.raises(ModelError, match="tokenizer"):
        evaluate_run(run, "tuned")


def test_a_gguf_base_runs_in_llama_cpp_and_says_so(make_run, tmp_path):
    gguf = write_tiny_gguf(tmp_path / "base.gguf")
    run = make_run(gguf, base_sha256=files.sha256_file(gguf))
    base = evaluate_run(run, "base")
    assert base.runtime == "llama.cpp"
    assert base.subject == "base"
    assert "ran in llama.cpp" in base.notes[0]
    assert base.score("loss").n == 6


def test_another_gguf_under_the_same_name_is_not_taken_for_the_base(make_run, tmp_path):
    gguf = write_tiny_gguf(tmp_path / "base.gguf")
    made = dequantised(gguf, tmp_path / "cache")
    run = make_run(gguf, base_sha256=made.sha256, base_folder=str(made.folder))
    write_tiny_gguf(gguf, seed=3)
    assert evaluate_run(run, "base", limit=1).runtime == "torch"


def test_llama_cpp_and_torch_agree_on_the_same_weights(make_run, add_artifact):
    """Two runtimes, two tokenizers, two ways to the loss: one figure, the same answers."""
    run = make_run()
    artifact = add_artifact(run)
    stored = evaluate_run(run, artifact.path)
    rows = load_rows(run.heldout_file).rows
    model = load_model(dequantised(artifact.main_file, run.folder / "cache").folder, dtype="float32")
    in_torch = Subject("torch", TorchRuntime(model, tiny_tokenizer()), partial(torch_losses, model))
    reference = evaluate(in_torch, rows, stored.basis)
    runtime = open_runtime(artifact, kv_cache="f32")
    exact = evaluate(Subject("llama.cpp", runtime), rows, stored.basis)
    runtime.close()
    assert exact.score("loss").value == pytest.approx(reference.score("loss").value, rel=1e-4)
    assert stored.score("loss").value == pytest.approx(reference.score("loss").value, rel=1e-2)
    assert [a.prediction for a in exact.answers] == [a.prediction for a in reference.answers]
    assert [a.prompt for a in exact.answers] == [a.prompt for a in reference.answers]


def test_a_run_is_reported_against_its_base_with_its_artifacts(make_run, add_artifact):
    run = make_run()
    add_artifact(run, "f16")
    add_artifact(run, "q4_0", seed=1)
    found = report(str(run.folder), Wanted(limit=3, artifacts=True))
    assert [e.subject for e in found.evaluations] == ["base", "tuned", "tiny-f16", "tiny-q4_0"]
    assert [(c.before, c.after) for c in found.comparisons] == [
        ("base", "tuned"),
        ("base", "tiny-f16"),
        ("tuned", "tiny-f16"),
        ("base", "tiny-q4_0"),
        ("tuned", "tiny-q4_0"),
    ]
    assert all(c.n == 3 for c in found.comparisons)


def test_an_artifact_is_compared_with_what_its_run_has_stored(make_run, add_artifact):
    run = make_run()
    artifact = add_artifact(run)
    alone = report(str(artifact.path), Wanted(limit=2))
    assert alone.comparisons == ()
    assert [remark.split(" ", 1)[0] for remark in alone.remarks] == ["'base'", "'tuned'"]
    evaluate_run(run, "tuned", limit=4)
    found = report(str(artifact.main_file), Wanted(limit=2))
    assert [(c.before, c.after, c.n) for c in found.comparisons] == [("tuned", "tiny-q8_0", 2)]


def test_without_base(make_run):
    run = make_run()
    assert [e.subject for e in report(str(run.folder), Wanted(limit=1, base=False)).evaluations] == ["tuned"]


def test_other_data_is_stored_under_a_name_of_its_own(make_run, tmp_path):
    run = make_run()
    own = evaluate_run(run, "tuned")
    other = tmp_path / "other.csv"
    other.write_text("prompt,completion\nsay 1,one\n")
    found = evaluate_run(run, "tuned", data=other)
    assert found.n == 1
    assert load(run.evaluation_file("tuned")) == own
    assert len(list(run.evaluation_file("tuned").parent.iterdir())) == 2


def test_a_bare_gguf_and_a_model_folder_need_data(tmp_path, base_folder):
    gguf = write_tiny_gguf(tmp_path / "bare.gguf", system="From the file")
    for subject in (gguf, base_folder):
        with pytest.raises(DataError, match="no held-out rows") as caught:
            report(str(subject), Wanted())
        assert "--data" in caught.value.hint
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}))
    (bare,) = report(str(gguf), Wanted(data=rows)).evaluations
    assert bare.runtime == "llama.cpp"
    assert "From the file" in bare.answers[0].prompt
    assert bare.basis.system == "From the file"
    (folder,) = report(str(base_folder), Wanted(data=rows)).evaluations
    assert folder.runtime == "torch"


def test_an_untrained_run_is_refused_with_the_command_that_goes_on(make_run):
    run = make_run(state="prepared")
    with pytest.raises(EdgetuneError, match="not trained yet") as caught:
        report(str(run.folder), Wanted())
    assert "--resume" in caught.value.hint


def test_a_run_without_a_base_yet_is_refused(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: new\nmodel: {source: x/y}\n")
    run = create_run(resolve(recipe), tmp_path / "run", created="2026-01-01T00:00:00Z", version="0")
    with pytest.raises(EdgetuneError, match="no base model yet"):
        evaluate_run(run, "base")


def test_limits_are_nested_seeded_and_in_order():
    small, large = choose_rows(50, 5, 1), choose_rows(50, 20, 1)
    assert set(small) < set(large)
    assert list(large) == sorted(large)
    assert small == choose_rows(50, 5, 1) != choose_rows(50, 5, 2)
    assert choose_rows(3, None, 1) == choose_rows(3, 9, 1) == (0, 1, 2)
