"""config.json with every default filled in, under one set of names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.errors import ModelError
from edgetune.models import load_config


@dataclass(frozen=True)
class Rope:
    """Rotary positions of a kind of layer.

    Attributes:
        theta: base of the frequencies.
        kind: ``default``, ``linear``, ``llama3``, ``yarn``, ``longrope``, …
        settings: the further numbers of that kind, as transformers names them.
    """

    theta: float
    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ModelConfig:
    """What an exporter needs to know about a model.

    Attributes:
        architecture: class name, ``LlamaForCausalLM``.
        context: longest sequence in tokens.
        tied: config.json says that head and embedding are one tensor.
        rope: of the layers with full attention.
        local_rope: of layers with a sliding window, where they differ.
        window: width of the sliding window, if any layer has one.
        layer_types: ``full_attention`` or ``sliding_attention`` for each layer; empty if not told apart.
        raw: everything, as transformers names it.
    """

    architecture: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    norm_epsilon: float
    activation: str
    tied: bool
    rope: Rope
    local_rope: Rope | None
    window: int | None
    layer_types: tuple[str, ...]
    raw: Mapping[str, Any]


def read_architecture(folder: Path) -> str:
    """The model's class name, read without transformers.

    Raises:
        ModelError: config.json is missing or damaged, or names none.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["architectures"][0])
    except OSError as error:
        raise ModelError(f"{folder} is not a model folder: no config.json", hint="give a folder with one") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}", hint="fetch the model again") from error
    except (KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{path} names no architecture", hint='add "architectures" to it') from error


def read_config(folder: Path) -> ModelConfig:
    """Read config.json and fill in transformers' defaults.

    Raises:
        ModelError: it is missing or damaged.
    """
    architecture = read_architecture(folder)
    raw = load_config(folder).to_dict()
    try:
        return _normalise(architecture, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / 'config.json'} cannot be used: {error!r}", hint="compare it with the model's original"
        ) from error


def generation_stops(folder: Path) -> tuple[int, ...]:
    """Tokens at which the model's generation_config.json stops; none without one.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return ()
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="fetch the model again") from error
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list) else (int(found),)


def _normalise(architecture: str, raw: Mapping[str, Any]) -> ModelConfig:
    heads = raw["num_attention_heads"]
    rope, local_rope = _ropes(raw)
    return ModelConfig(
        architecture=architecture,
        hidden=raw["hidden_size"],
        intermediate=raw["intermediate_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
        vocabulary=raw["vocab_size"],
        context=raw["max_position_embeddings"],
        norm_epsilon=raw["rms_norm_eps"],
        activation=raw.get("hidden_activation") or raw["hidden_act"],
        tied=bool(raw.get("tie_word_embeddings")),
        rope=rope,
        local_rope=local_rope,
        window=_window(raw),
        layer_types=tuple(raw.get("layer_types") or ()),
        raw=raw,
    )


def _ropes(raw: Mapping[str, Any]) -> tuple[Rope, Rope | None]:
    """Rope of full and of sliding layers, from the layout of transformers 5 or of 4."""
    stored = raw.get("rope_parameters")
    if stored and "full_attention" in stored:
        return _rope(stored["full_attention"], raw), _rope(stored["sliding_attention"], raw)
    if stored:
        return _rope(stored, raw), None
    theta = raw.get("rope_theta", 10000.0)
    rope = _rope({"rope_theta": theta, **(raw.get("rope_scaling") or {})}, raw)
    local = raw.get("rope_local_base_freq")
    return rope, None if local is None else Rope(float(local), "default", {})


def _rope(stored: Mapping[str, Any], raw: Mapping[str, Any]) -> Rope:
    settings = dict(stored)
    theta = float(settings.pop("rope_theta"))
    kind = settings.pop("rope_type", None) or settings.get("type") or "default"
    settings.pop("type", None)
    for key in ("partial_rotary_factor", "original_max_position_embeddings"):
        if settings.get(key) is None and raw.get(key) is not None:
            settings[key] = raw[key]
    return Rope(theta, "longrope" if kind == "su" else kind, settings)


def _window(raw: Mapping[str, Any]) -> int | None:
    """Width of the sliding window when some layer uses one."""
    window: int | None = raw.get("sliding_window")
    if window is None or raw.get("use_sliding_window") is False:
        return None
    types = raw.get("layer_types")
    return window if not types or "sliding_attention" in types else None
