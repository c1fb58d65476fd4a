"""The exported model of a method: asked what the trained one was asked, and its adapter kept apart."""

from __future__ import annotations

import pytest
import tinyclassifier
import tinyruns
from comparisons import comparison

from edgetune import training
from edgetune.artifact import open_artifact
from edgetune.errors import ArtifactError, EdgetuneError, ExportError, Interrupted
from edgetune.evaluation import evaluate_run
from edgetune.evaluation.record import load
from edgetune.methods import device
from edgetune.methods.device import Exporting
from edgetune.methods.exported import EXPORTS, apart_of, artifact_of, has_adapter, shift_of
from edgetune.methods.record import Apart
from edgetune.methods.summing import GIGABYTE, summaries
from edgetune.report.quality import find_score


@pytest.fixture
def run(tmp_path):
    return tinyruns.write_run(tmp_path / "run", tinyruns.write_base(tmp_path / "base"))


def test_the_artifact_is_asked_the_same_rows_as_the_trained_model(run):
    evaluate_run(run, "tuned")
    EXPORTS["whole"](run, "gguf", "q8_0")
    artifact = artifact_of(run, "gguf", "q8_0")
    with pytest.raises(EdgetuneError):  # it was not asked yet
        shift_of(run, artifact)
    EXPORTS["asked"](run, "gguf", "q8_0")
    found = shift_of(run, artifact)
    answered = load(run.evaluation_file(artifact.name))
    assert (found.name, found.after) == ("exact_match", find_score(answered, "exact_match").value)
    assert answered.n == load(run.evaluation_file("tuned")).n


def test_an_artifact_is_found_by_what_it_is_and_not_by_the_name_of_its_folder(run):
    with pytest.raises(ArtifactError, match="has no such artifact: q8_0"):
        artifact_of(run, "gguf", "q8_0")
    EXPORTS["whole"](run, "gguf", "q8_0")
    (run.exports_folder / "q8_0").rename(run.exports_folder / "q8_0-imatrix")
    EXPORTS["apart"](run, "gguf", "q8_0")
    assert artifact_of(run, "gguf", "q8_0").path == run.exports_folder / "q8_0-imatrix"
    with pytest.raises(ArtifactError):
        artifact_of(run, "onnx", "q8_0")


def test_an_adapter_apart_takes_less_than_a_model(run):
    EXPORTS["apart"](run, "gguf", "q8_0")
    found = apart_of(run, "gguf", "q8_0")
    assert found.adapter_bytes == open_artifact(run.exports_folder / "adapter-f16").size_bytes
    assert found.base_bytes == open_artifact(run.exports_folder / "base-q8_0").size_bytes
    assert 0 < found.adapter_bytes < found.base_bytes
    assert found.missing == 0


def test_a_whole_model_and_a_classifier_have_no_adapter_apart(run, tmp_path):
    assert has_adapter(run)
    run.adapter_folder.rename(tmp_path / "elsewhere")
    assert not has_adapter(run)
    base = tinyclassifier.write_base(tmp_path / "classifier")
    resolved = tinyclassifier.write_recipe(tmp_path / "recipe", base, train={"max_steps": 2})
    classifier = training.train(resolved, tmp_path / "classes")
    assert classifier.adapter_folder.is_dir()
    assert not has_adapter(classifier)


def test_as_many_specialisations_as_fit_one_way_or_the_other():
    found = comparison({"full": [1, 1, 1], "lora": [1, 1, 1]})
    full, lora = found.devices
    few = lora.model_copy(update={"apart": Apart(base_bytes=20_000_000, adapter_bytes=2_000_000)})
    changed = found.model_copy(update={"devices": (full, few)})
    assert [one.fit_exported for one in summaries(changed)] == [
        GIGABYTE // 23_000_000,
        (GIGABYTE - 20_000_000) // 2_000_000,
    ]
    large = lora.model_copy(update={"apart": Apart(base_bytes=990_000_000, adapter_bytes=2_000_000)})
    assert summaries(found.model_copy(update={"devices": (full, large)}))[1].fit_exported == GIGABYTE // 23_000_000


@pytest.fixture
def exporting(run, tmp_path, monkeypatch):
    """(how to export with what fails, what was said)"""
    (timed, _) = comparison({"lora": [1], "full": [1]}).devices
    monkeypatch.setattr(
        device,
        "time_all",
        lambda runs, *_: [timed.model_copy(update={"format": "gguf", "precision": "q8_0"})] if runs else [],
    )
    evaluate_run(run, "tuned")
    said = []

    def made(failing):
        def look(_, what):
            if what in failing:
                raise failing[what]
            EXPORTS[what](run, "gguf", "q8_0")

        return Exporting(run.recipe, tmp_path, look, lambda what, error: said.append(f"{what}: {error.message}"))

    return made, said


def test_all_is_known_of_an_adapter(exporting, run):
    made, said = exporting
    (found,) = made({}).devices({"lora": run})
    assert found.shift.name == "exact_match"
    assert found.apart == apart_of(run, "gguf", "q8_0")
    assert said == []


def test_an_adapter_that_cannot_be_kept_apart_is_said_and_the_model_stays(exporting, run):
    made, said = exporting
    (found,) = made({"apart": ExportError("an adapted embedding")}).devices({"lora": run})
    assert (found.shift is None, found.apart) == (False, None)
    assert said == ["the adapter of lora was not exported apart: an adapted embedding"]


def test_a_model_that_cannot_be_asked_is_said_and_timed(exporting, run):
    made, said = exporting
    (found,) = made({"asked": EdgetuneError("the runtime cannot load it")}).devices({"lora": run})
    assert (found.shift, found.apart is None, found.figures[0].name) == (None, False, "latency")
    assert said == ["the exported model of lora was not asked: the runtime cannot load it"]


def test_a_model_that_cannot_be_exported_is_said(exporting, run):
    made, said = exporting
    assert made({"whole": ExportError("no such operator")}).devices({"lora": run}) == []
    assert said == ["lora was not exported: no such operator"]
    with pytest.raises(Interrupted):
        made({"whole": Interrupted("stopped")}).devices({"lora": run})
