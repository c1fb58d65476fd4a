"""The torch-free classifier: a graph made by hand, so that nothing need be trained."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from countingclassifier import write_classifier

from edgetune.api import load
from edgetune.artifact import open_artifact
from edgetune.classification import LoadedClassifier
from edgetune.cli import main
from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes import open_runtime
from edgetune.runtimes.fake_classifier import FakeClassifier
from edgetune.runtimes.onnx_classifier import OnnxClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("c") / "fp32").path


def test_load_gives_a_classifier(folder):
    with load(folder, threads=1) as classifier:
        found = classifier.classify("good good bad")
        assert found.label == "positive"
        assert list(found.scores) == ["positive", "negative"]
        assert found.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)
        assert sum(found.scores.values()) == pytest.approx(1)
        several = classifier.classify(["bad", "good", "the film was bad"] * 30)
        assert [one.label for one in several] == ["negative", "positive", "negative"] * 30


def test_padding_and_what_is_beyond_the_longest_text_count_for_nothing(folder):
    runtime = OnnxClassifier(open_artifact(folder))
    assert runtime.logits(["good", "bad bad bad bad bad bad"]).tolist() == [[0, 1], [4, 0]]


def test_a_text_without_tokens_is_said(folder, monkeypatch):
    runtime = OnnxClassifier(open_artifact(folder))
    monkeypatch.setattr(runtime, "encode", lambda text: [3] * len(text))  # a tokenizer without tokens of its own
    with pytest.raises(DataError, match="text 2 is empty"):
        runtime.logits(["good", ""])


def test_it_needs_no_torch(folder):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import edgetune; "
        f"print(edgetune.load({str(folder)!r}).classify('good').label)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "positive\n", done.stderr


def test_other_numbers_of_classes_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="names 3 classes, and its graph tells 2 apart"):
        OnnxClassifier(write_classifier(tmp_path / "c", labels=("a", "b", "c")))


def test_a_classifier_does_not_chat(folder):
    with pytest.raises(ArtifactError, match="is for text-classification: it writes no text"):
        open_runtime(folder)


def test_the_command_prints_classes(folder, capsys):
    assert main(["classify", str(folder), "good", "bad bad"]) == 0
    assert capsys.readouterr().out == "positive\t0.731\tgood\nnegative\t0.881\tbad bad\n"
    assert main(["classify", str(folder), "good", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label"] == "positive"
    assert list(told["scores"]) == ["positive", "negative"]


def test_what_is_no_classifier_is_refused(tmp_path, capsys):
    from tinyruns import write_artifact

    artifact = write_artifact(tmp_path / "gguf")
    assert main(["classify", str(artifact.path), "good"]) == 8
    assert "is no classifier" in capsys.readouterr().err


def test_the_fake_answers():
    with LoadedClassifier(FakeClassifier(("bad", "good"))) as classifier:
        assert [one.label for one in classifier.classify(["a good one", "none"])] == ["good", "bad"]
