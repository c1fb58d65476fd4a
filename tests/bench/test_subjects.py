"""What a trained model in torch is measured by: every file that a start of it reads."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tinygguf import write_tiny_gguf
from tinyruns import write_artifact

from edgetune.adapters import tuned
from edgetune.bench.plan import Plan
from edgetune.bench.single_stream import bench_subjects
from edgetune.bench.subjects import artifact_subject, choose_subjects, tuned_subject
from edgetune.errors import ArtifactError
from edgetune.run import Run, RunManifest


@pytest.mark.parametrize("against", ["base", None])
def test_the_base_beneath_an_adapter_is_read_at_a_start_too(tmp_path, monkeypatch, against):
    base, run = tmp_path / "base", Run(tmp_path / "run")
    own = run.adapter_folder if against else run.model_folder
    for folder in (base, own):
        folder.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"x" * 1000)
    (own / "weights.safetensors").write_bytes(b"y" * 10)
    manifest = RunManifest(
        state="trained", edgetune="0", created="2026-01-01T00:00:00Z", seed=1, trained_against=against, base_sha256="b"
    )
    (run.folder / "recipe.yaml").write_text("name: tiny\nmodel: {source: base}\ndata: {train: rows.jsonl}\n")
    (run.folder / "manifest.json").write_text(manifest.model_dump_json())
    monkeypatch.setattr(tuned, "trained_base", lambda _: SimpleNamespace(folder=base))
    found = tuned_subject(run)
    assert found.subject.size_bytes == (1010 if against else 10)
    assert (base / "model.safetensors" in found.weights) == bool(against)
    assert own / "weights.safetensors" in found.weights


def test_what_would_be_ignored_is_refused(tmp_path):
    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(ArtifactError, match="--artifact q4_k_m names an export of a run"):
        choose_subjects([file], ["q4_k_m"])
    with pytest.raises(ArtifactError, match="is for adapters, and none of these is one"):
        choose_subjects([file], base=file)


def test_what_only_llama_cpp_can_be_told_is_refused_before_anything_is_measured(tmp_path):
    artifact = write_artifact(tmp_path / "a", name="tiny")
    other = replace(artifact_subject(artifact), runtime="onnxruntime")
    for options, words in (({"kv_types": ("f16", "q8_0")}, "kv type"), ({"batches": (8,)}, "batch")):
        with pytest.raises(ArtifactError, match=f"onnxruntime of tiny has no setting for {words}"):
            bench_subjects([other], Plan(**options))
    threads = {"prefill_threads": 2, "decode_threads": 1}
    opened = artifact_subject(artifact).opening(Plan(threads=2, decode_threads=(1,)))
    assert {name: opened[name] for name in threads} == threads, "prompts keep theirs"
    assert other.opening(Plan(threads=2, decode_threads=(1,)))["prefill_threads"] is None
