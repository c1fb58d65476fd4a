"""torchvision's MobileNetV2 as base model: a ``.pth`` file, renamed into transformers' layout once and cached.

The file is a pickle. It is read by torch's restricted unpickler, which makes tensors and plain containers and runs
nothing else; a file that needs more is refused.

=====================================  ==============================================
torchvision                            transformers
=====================================  ==============================================
``features.0.0``, ``.1``               ``mobilenet_v2.conv_stem.first_conv``
``features.1.conv.0``, ``.1``, ...     ``mobilenet_v2.conv_stem.conv_3x3``, ``.reduce_1x1``
``features.N.conv.0``                  ``mobilenet_v2.layer.(N-2).expand_1x1``
``features.N.conv.1``                  ``mobilenet_v2.layer.(N-2).conv_3x3``
``features.N.conv.2``, ``.3``          ``mobilenet_v2.layer.(N-2).reduce_1x1``
``features.18.0``, ``.1``              ``mobilenet_v2.conv_1x1``
``classifier.1``                       ``classifier``
=====================================  ==============================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console, extras, files
from edgetune.errors import ModelError
from edgetune.images.preprocessing import CONFIG, Preprocessing
from edgetune.models.sealed import is_whole, say_waiting, write_json, write_seal

if TYPE_CHECKING:
    import torch

#: Changes when the conversion does, so that older cache entries are made again.
VERSION = 1
#: torchvision's own for its ImageNet weights: the shorter edge to 256, bilinear, the middle 224 x 224.
IMAGENET = Preprocessing(
    resize=256,
    resample=2,
    crop=(224, 224),
    scale=1 / 255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
#: Where transformers' defaults, which are TensorFlow's, differ: padding on both sides, and the norms' epsilon.
_SETTINGS: dict[str, Any] = {"tf_padding": False, "layer_norm_eps": 1e-5, "classifier_dropout_prob": 0.2}
_LAST = 18
_HINT = "give a folder with config.json, safetensors and preprocessor_config.json instead"


def converted(path: Path, cache: Path) -> Path:
    """The cache folder with a file's model in transformers' layout, made on the first call.

    Raises:
        ModelError: not torchvision's MobileNetV2, damaged, or a pickle of more than tensors.
        ResourceError: not enough room in the cache.
    """
    target = cache / f"{files.sha256_file(path)[:32]}-torchvision-v{VERSION}"
    if not is_whole(target):
        with files.locked(target.with_suffix(".lock"), say_waiting):
            if not is_whole(target):
                _convert(path, target)
    return target


def _convert(path: Path, target: Path) -> None:
    from safetensors.torch import save_file

    tensors = _fitting(path, _read(path))
    files.require_disk(target.parent, 2 * path.stat().st_size, "the converted base model")
    console.note(f"converting {path.name} into transformers' layout")
    with files.atomic_path(target) as folder:
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        config = _config(len(tensors["classifier.bias"])).to_dict()
        write_json(folder / "config.json", config | {"architectures": ["MobileNetV2ForImageClassification"]})
        write_json(folder / CONFIG, IMAGENET.to_config())
        write_seal(folder, {"source": str(path)})


def _read(path: Path) -> dict[str, torch.Tensor]:
    torch = extras.require("torch", extra="train", needed_for="a .pth base model")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zipfile's and torch's own exceptions
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} is damaged, or holds more than tensors: {first}", hint=_HINT) from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise ModelError(f"{path} is no table of names and tensors", hint=_HINT)
    return {str(name): value for name, value in stored.items()}


def _fitting(path: Path, stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under transformers' names, if they are those of its MobileNetV2, all of them and no others.

    Raises:
        ModelError: naming those that are not.
    """
    from transformers import AutoModelForImageClassification

    names = {name: rename(name) for name in stored}
    problems = [f"{name}: not in torchvision's MobileNetV2" for name, new in names.items() if new is None]
    found = {new: stored[name].contiguous() for name, new in names.items() if new is not None}
    bias = found.get("classifier.bias")
    with _meta():
        model = AutoModelForImageClassification.from_config(  # type: ignore[no-untyped-call]
            _config(1000 if bias is None else len(bias))
        )
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    problems += [f"{name}: missing" for name in wanted if name not in found]
    problems += [
        f"{name}: {tuple(value.shape)} in the file, {wanted[name]} in the model"
        for name, value in found.items()
        if tuple(value.shape) != wanted.get(name)
    ]
    if problems:
        raise ModelError(
            f"{path} is not torchvision's MobileNetV2, the one .pth layout that is known",
            hint=_HINT,
            problems=problems[:12],
        )
    return found


def _meta() -> Any:
    """Where tensors have shapes and no values."""
    import torch

    return torch.device("meta")


def _config(classes: int) -> Any:
    from transformers import MobileNetV2Config

    # Its types know only its own settings, not those of every configuration.
    return MobileNetV2Config(num_labels=classes, **_SETTINGS)  # type: ignore[call-arg]


def rename(name: str) -> str | None:
    """Transformers' name of a tensor of torchvision's MobileNetV2; None: there is no such tensor.

    >>> rename("features.4.conv.3.running_mean")
    'mobilenet_v2.layer.2.reduce_1x1.normalization.running_mean'
    """
    if found := re.fullmatch(r"classifier\.1\.(weight|bias)", name):
        return f"classifier.{found[1]}"
    if found := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", name):
        layer = "conv_1x1" if int(found[1]) == _LAST else "conv_stem.first_conv"
        return f"mobilenet_v2.{layer}.{_part(found[2])}.{found[3]}"
    if found := re.fullmatch(r"features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(\w+)", name):
        return _of_block(int(found[1]), int(found[2]), found[3], found[4])
    return None


def _of_block(block: int, place: int, inner: str | None, leaf: str) -> str | None:
    """An inverted residual: expansion, depthwise convolution, then projection and its norm without a wrapper."""
    # The first block expands nothing, so it has one convolution fewer.
    layers = ["conv_3x3"] if block == 1 else ["expand_1x1", "conv_3x3"]
    prefix = "mobilenet_v2.conv_stem" if block == 1 else f"mobilenet_v2.layer.{block - 2}"
    if place < len(layers):
        return f"{prefix}.{layers[place]}.{_part(inner)}.{leaf}" if inner else None
    if inner or place > len(layers) + 1:
        return None
    return f"{prefix}.reduce_1x1.{_part('0' if place == len(layers) else '1')}.{leaf}"


def _part(number: str) -> str:
    return "convolution" if number == "0" else "normalization"
