"""A tiny random ResNet, pictures that are mostly red or mostly blue, and a recipe that trains in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification

from edgetune.images.preprocessing import CONFIG, Preprocessing
from edgetune.recipe import Resolved, resolve

#: As ImageNet's are prepared, small: the shorter edge to 36, the middle 32 x 32.
SMALL = Preprocessing(36, 2, (32, 32), 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LABELS = ("blue", "red")


def write_base(folder: Path, model: Any = None, preprocessing: Preprocessing = SMALL) -> Path:
    """A model folder with a head for other classes."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5, hidden_act="relu"
    )
    (model or ResNetForImageClassification(config)).save_pretrained(folder)
    (folder / CONFIG).write_text(json.dumps(preprocessing.to_config()))
    return folder


def picture(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """(width, height): noise, every second one redder than blue."""
    noise = np.random.default_rng(number).integers(0, 120, (size[1], size[0], 3))
    noise[..., 0 if number % 2 else 2] += 100
    return Image.fromarray(noise.astype(np.uint8))


def write_pictures(folder: Path, count: int, start: int = 0) -> Path:
    """A folder for each class."""
    for number in range(start, start + count):
        file = folder / LABELS[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(file)
    return folder


def write_recipe(folder: Path, base: Path, **sections: Any) -> Resolved:
    """A recipe for a few steps on the CPU; ``sections`` change it."""
    write_pictures(folder / "train", 48)
    write_pictures(folder / "heldout", 16, start=48)
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"source": str(base)},
        "task": {"kind": "image-classification"},
        "data": {"train": "train", "heldout": "heldout"},
        "method": {"rank": 4},
        "train": {
            "device": "cpu",
            "dtype": "float32",
            "batch_size": 16,
            "max_steps": 24,
            "evaluate_every": 12,
            "log_every": 8,
            "learning_rate": 0.01,
        },
    }
    for section, changes in sections.items():
        values[section] = values.get(section, {}) | changes if isinstance(changes, dict) else changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return resolve(path)
