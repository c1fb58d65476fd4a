"""A ResNet from random weights on scikit-learn's 1,797 scanned digits: trained whole, exported, verified."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits
from transformers import BitImageProcessor, ResNetConfig, ResNetForImageClassification

from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import export
from edgetune.recipe import resolve
from edgetune.training import train
from edgetune.verification.choosing import verifier_of

RECIPE = {
    "name": "scanned-digits",
    "model": {"source": "./resnet"},
    "task": {"kind": "image-classification"},
    "data": {"train": "train", "heldout": "heldout"},
    "method": {"kind": "full"},
    "augment": {"shift": 0.08},
    "train": {"learning_rate": 3e-3, "batch_size": 32, "epochs": 6, "weight_decay": 0.01, "device": "cpu"},
}


def write_base(folder):
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic")
    ResNetForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BitImageProcessor(
        size=size, resample=2, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    write_base(folder / "resnet")
    pixels, classes = load_digits(return_X_y=True)
    for number, (row, label) in enumerate(zip(pixels, classes, strict=True)):
        file = folder / ("train" if number < 1400 else "heldout") / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((row.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(file)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return train(resolve(folder / "recipe.yaml"), folder / "run")


def test_it_reads_digits_that_it_was_not_trained_on(run):
    accuracy = evaluate_run(run, "tuned").score("accuracy")
    assert accuracy.value >= 0.95
    assert accuracy.low > evaluate_run(run, "base").score("accuracy").high


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8_static", "fp32_ort"])
def test_an_export_is_the_trained_model(run, precision):
    found = verifier_of(run).verify(export(run, "onnx", precision))
    assert found.passed, [check for check in found.checks if not check.passed]
