"""A tiny random model of every family of image classifiers, with a head for other classes."""

from __future__ import annotations

import torch
import transformers


def _family(name, **settings):
    config = getattr(transformers, f"{name}Config")(num_labels=5, **settings)
    torch.manual_seed(1)
    return getattr(transformers, f"{name}ForImageClassification")(config)


FAMILIES = {
    "ResNet": lambda: _family("ResNet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    "MobileNetV2": lambda: _family("MobileNetV2", depth_multiplier=0.1, min_depth=4, depth_divisible_by=4),
    "ViT": lambda: _family(
        "ViT",
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    ),
    "ConvNext": lambda: _family("ConvNext", hidden_sizes=[8, 16], depths=[1, 3], num_stages=2),
    "EfficientNet": lambda: _family("EfficientNet", width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128),
}
