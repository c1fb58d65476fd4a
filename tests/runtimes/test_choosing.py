import json
import shutil

import pytest
from tinygguf import write_tiny_gguf

from edgetune.artifact import ArtifactManifest, write_manifest
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.files import sha256_file
from edgetune.run import RunManifest
from edgetune.runtimes.choosing import choose_artifact, require_artifact
from edgetune.talk import Chosen, open_assistant


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(json.dumps({"name": "tiny", "model": {"source": "base"}}))
    manifest = RunManifest(state="training", edgetune="0", created="2026-01-01T00:00:00Z", seed=1)
    (tmp_path / "run/manifest.json").write_text(manifest.model_dump_json())
    return tmp_path / "run"


def export(run, precision, padding):
    folder = run / "exports" / precision
    folder.mkdir(parents=True)
    file = write_tiny_gguf(folder / "m.gguf", system="s" * padding)
    write_manifest(folder, ArtifactManifest(
        name=f"tiny-{precision}", format="gguf", precision=precision, runtime="llama.cpp", main_file="m.gguf",
        weights="merged", architecture="LlamaForCausalLM", base_source="base", base_sha256="0", merged_into="base",
        chat_template_sha256="0", stop_ids=(2,), system="Be kind.", context_length=512, parameters=1,
        tensor_types={}, fallbacks={}, sha256={"m.gguf": sha256_file(file)}, size_bytes=file.stat().st_size,
        edgetune="0", created="2026-01-01T00:00:00Z",
    ))  # fmt: skip


def test_a_path_that_names_an_artifact_needs_no_reason(run):
    export(run, "q8_0", 1)
    for path in ("", "manifest.json", "m.gguf"):
        choice = choose_artifact(run / "exports/q8_0" / path)
        assert choice.artifact.name == "tiny-q8_0"
        assert choice.reason == ""


def test_of_several_exports_the_largest_is_taken_and_said(run, capsys):
    export(run, "q4_0", 1)
    export(run, "q8_0", 5000)
    choice = choose_artifact(run)
    assert choice.artifact.path.name == "q8_0"
    assert choice.reason == "the largest of 2 exports; others with --artifact: q4_0"
    assert choose_artifact(run, "q4_0").artifact.path.name == "q4_0"
    assert choose_artifact(run, "tiny-q4_0").artifact.path.name == "q4_0"
    with pytest.raises(ArtifactError, match="no export 'f16'") as caught:
        choose_artifact(run, "f16")
    assert caught.value.hint == "it has: q4_0, q8_0"
    require_artifact(run)
    assert "the largest of 2 exports" in capsys.readouterr().err


def test_an_assistant_opens_a_runs_export(run):
    export(run, "q8_0", 1)
    with open_assistant(Chosen(run), threads=1) as assistant:
        assert assistant.runtime.name == "llama.cpp"
        assert assistant.system == "Be kind."  # the manifest's, before the file's
    shutil.rmtree(run / "exports")
    with pytest.raises(EdgetuneError, match="not trained yet"):  # no exports: the trained model in torch, if there
        open_assistant(Chosen(run))


def test_a_run_without_exports(run):
    assert choose_artifact(run) is None
    with pytest.raises(ArtifactError, match="has no exports") as caught:
        require_artifact(run)
    assert caught.value.hint.startswith(f"edgetune export {run}")


def test_a_damaged_export_does_not_keep_the_others_from_use(run, capsys):
    export(run, "q4_0", 1)
    export(run, "q8_0", 5000)
    (run / "exports/q8_0/m.gguf").write_bytes(b"GGUF")
    assert choose_artifact(run, "q4_0").artifact.path.name == "q4_0"
    assert choose_artifact(run).artifact.path.name == "q4_0"
    assert "exports/q8_0 is left out" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="q8_0 is damaged"):
        choose_artifact(run, "q8_0")
    manifest = run / "exports/q8_0/manifest.json"
    manifest.write_text(manifest.read_text()[:-20])
    assert choose_artifact(run, "q4_0").artifact.path.name == "q4_0"


def test_exports_of_a_run_that_is_not_at_its_end_are_said_to_be_old(run, capsys):
    export(run, "q8_0", 1)
    choose_artifact(run)
    assert "is not trained to its end (state: training); its exports are from before" in capsys.readouterr().err
