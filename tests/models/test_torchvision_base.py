"""torchvision's MobileNetV2 under transformers' names: every tensor, or a clear refusal."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

from edgetune.errors import ModelError
from edgetune.images.preprocessing import CONFIG, read_preprocessing
from edgetune.models.base import resolve_base
from edgetune.models.torchvision_base import IMAGENET, converted, rename
from edgetune.recipe import ModelSettings


def names():
    """Every tensor of torchvision's MobileNetV2, from its own rules: (name, place of the block, kind)."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for outer in ("features.0", "features.18"):
        yield f"{outer}.0.weight"
        yield from (f"{outer}.1.{leaf}" for leaf in norm)
    for block in range(1, 18):
        wrapped = 1 if block == 1 else 2
        for inner in range(wrapped):
            yield f"features.{block}.conv.{inner}.0.weight"
            yield from (f"features.{block}.conv.{inner}.1.{leaf}" for leaf in norm)
        yield f"features.{block}.conv.{wrapped}.weight"
        yield from (f"features.{block}.conv.{wrapped + 1}.{leaf}" for leaf in norm)
    yield from ("classifier.1.weight", "classifier.1.bias")


@pytest.fixture(scope="module")
def stored():
    """Random weights as torchvision would store them."""
    torch.manual_seed(0)
    model = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000))
    return {name: model.state_dict()[rename(name)] for name in names()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_every_tensor_has_exactly_one_name():
    given = [rename(name) for name in names()]
    wanted = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000)).state_dict()
    assert None not in given
    assert len(given) == len(set(given))
    assert set(given) == set(wanted)


def test_it_becomes_a_model_folder_with_its_preprocessing(cache, stored):
    torch.save(stored, cache / "mobilenet_v2-b0353104.pth")
    base = resolve_base(ModelSettings(source=str(cache / "mobilenet_v2-b0353104.pth")), Path())
    assert base.origin == "torchvision's mobilenet_v2-b0353104.pth"
    model, told = MobileNetV2ForImageClassification.from_pretrained(base.folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(model.classifier.weight, stored["classifier.1.weight"])
    assert model.config.tf_padding is False
    assert read_preprocessing(base.folder) == IMAGENET
    assert json.loads((base.folder / CONFIG).read_text())["crop_size"] == {"height": 224, "width": 224}
    assert converted(cache / "mobilenet_v2-b0353104.pth", cache / "cache" / "models") == base.folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {n: v for n, v in s.items() if n != "features.3.conv.2.weight"}, "layer.1.reduce_1x1"),
        (lambda s: s | {"features.99.weight": torch.zeros(1)}, "features.99.weight: not in torchvision's MobileNetV2"),
        (lambda s: s | {"features.0.0.weight": torch.zeros(2, 3, 3, 3)}, "(2, 3, 3, 3) in the file"),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_another_model_is_refused_by_what_differs(cache, stored, change, told):
    torch.save(change(stored), cache / "x.pth")
    with pytest.raises(ModelError, match="is not torchvision's MobileNetV2") as error:
        converted(cache / "x.pth", cache / "models")
    assert any(told in problem for problem in error.value.problems)
    assert not list((cache / "models").glob("*-torchvision-*"))


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize("content", [pickle.dumps({"a": Evil()}), b"no pickle", b""], ids=["code", "text", "empty"])
def test_a_pickle_of_more_than_tensors_is_refused_and_runs_nothing(cache, content, capsys):
    (cache / "x.pth").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged, or holds more than tensors"):
        converted(cache / "x.pth", cache / "models")
    assert "this ran" not in capsys.readouterr().out


def test_a_table_of_something_else_is_refused(cache):
    torch.save({"epoch": 3}, cache / "x.pth")
    with pytest.raises(ModelError, match="is no table of names and tensors"):
        converted(cache / "x.pth", cache / "models")
