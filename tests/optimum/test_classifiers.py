"""edgetune's classifiers in Optimum's own classes: the same classes, under the same names, from the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tinyimages
from optimumside import ask
from tinyclassifier import rows, write_base, write_recipe

from edgetune.classification import LoadedClassifier
from edgetune.exporting import export
from edgetune.recipe import resolve
from edgetune.recipes import shipped_recipe
from edgetune.runtimes.classifying import open_classifier
from edgetune.training import train

pytestmark = pytest.mark.optimum
PRECISIONS = ("fp32", "fp16", "int8", "int8_static")


def in_optimum(artifact, given, tokenizer="auto"):
    """Names of the classes, and class and logits of each text or file, as Optimum has them."""
    manifest = artifact.manifest
    job = {"task": manifest.task, "folder": str(artifact.path), "graph": manifest.main_file, "given": given}
    return ask(
        Path(__file__).with_name("classify.py"), job | {"max_tokens": manifest.context_length, "tokenizer": tokenizer}
    )


def require_same(artifact, given, tokenizer="auto"):
    theirs = in_optimum(artifact, given, tokenizer)
    assert tuple(theirs["labels"]) == artifact.manifest.labels
    runtime = open_classifier(artifact)
    own = np.concatenate([runtime.logits([one]) for one in given])  # alone, as there: no padding
    np.testing.assert_allclose(own, [one["logits"] for one in theirs["found"]], atol=1e-5)
    with LoadedClassifier(runtime) as classifier:
        assert [one["label"] for one in theirs["found"]] == [one.label for one in classifier.classify(given)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return train(write_recipe(folder / "r", write_base(folder / "bert")), folder / "run")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_tiny_classifier(tiny, precision):
    texts = [row["text"] for row in rows(12, start=100)] + ["good " * 60]
    require_same(export(tiny, "onnx", precision), texts, tokenizer="file")


def test_the_sentiment_recipe(tmp_path):
    """Real weights, and the tokenizer as Optimum's users load it; ten steps are enough to be the same."""
    changes = {"train.max_steps": 10, "train.evaluate_every": 10, "train.evaluate_rows": 20, "train.device": "cpu"}
    resolved = resolve(shipped_recipe("sentiment").file, {key: (value, "flag") for key, value in changes.items()})
    run = train(resolved, tmp_path / "run")
    texts = ["a wonderful, moving film", "a tedious and pointless mess", "it has its moments , but few"]
    for precision in ("fp32", "int8"):
        require_same(export(run, "onnx", precision), texts)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return train(tinyimages.write_recipe(folder / "r", tinyimages.write_base(folder / "resnet")), folder / "run")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_image_classifier(images, precision, tmp_path):
    """Pictures wider, higher and smaller than the model's, prepared by the processor that the folder names."""
    files = []
    for number, size in enumerate(((40, 30), (30, 47), (64, 64), (20, 90), (17, 19))):
        files.append(str(tmp_path / f"{number}.png"))
        tinyimages.picture(number, size).save(files[-1])
    require_same(export(images, "onnx", precision), files)
