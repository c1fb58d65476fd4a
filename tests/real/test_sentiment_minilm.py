"""MiniLM on film reviews: a short training, exported, is the trained model in every precision."""

from __future__ import annotations

import pytest

from edgetune.artifact import open_artifact
from edgetune.classification import LoadedClassifier
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import export
from edgetune.recipe import resolve
from edgetune.recipes import shipped_recipe
from edgetune.runtimes.onnx_classifier import OnnxClassifier
from edgetune.training import train
from edgetune.verification.choosing import verifier_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Enough steps to be far above chance, and a minute or two on two cores."""
    changes = {
        "train.max_steps": 60,
        "train.evaluate_every": 60,
        "train.evaluate_rows": 100,
        "train.device": "cpu",
        "data.heldout_limit": 300,
    }
    resolved = resolve(shipped_recipe("sentiment").file, {key: (value, "flag") for key, value in changes.items()})
    return train(resolved, tmp_path_factory.mktemp("sentiment") / "run")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8_static"])
def test_an_export_is_the_trained_model(run, precision):
    artifact = export(run, "onnx", precision)
    found = verifier_of(run, quick=True).verify(artifact)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_it_has_learnt_something(run):
    accuracy = evaluate_run(run, "tuned").score("accuracy")
    assert accuracy.low > evaluate_run(run, "base").score("accuracy").value
    assert accuracy.value > 0.65


def test_an_app_classifies(run):
    artifact = export(run, "onnx", "int8")
    with LoadedClassifier(OnnxClassifier(open_artifact(artifact.path))) as classifier:
        good, bad = classifier.classify(["a wonderful, moving film", "a tedious and pointless mess"])
    assert (good.label, bad.label) == ("positive", "negative")
