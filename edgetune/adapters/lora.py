"""A LoRA adapter as PEFT stores it: which module changes by what.

The maths (Hu et al., 2021, arXiv 2106.09685; rsLoRA: Kalajdzievski, 2023, arXiv 2312.03732;
DoRA: Liu et al., 2024, arXiv 2402.09353)::

    delta = scale · B A            scale = alpha / r, with rsLoRA alpha / √r
    LoRA    W' = W + delta
    DoRA    W' = m · (W + delta) / ‖W + delta‖     norms of the output features

Whatever this module cannot express is refused by its name; nothing is left out silently.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.adapters.targets import Targets
from edgetune.adapters.tensors import list_tensors, read_tensor
from edgetune.errors import ModelError
from edgetune.models.weights import StoredTensor

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
PREFIX = "base_model.model."

#: Ways to initialise that leave the base weights as they are.
_PLAIN_INITIALISATION = (True, False, "gaussian", "orthogonal", "eva")

#: Settings that are used here, or say nothing about the values of the merged weights.
# One name a line would fill the screen.
# fmt: off
_UNDERSTOOD = frozenset((
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out", "peft_type", "bias",
    "modules_to_save", "init_lora_weights", "inference_mode", "lora_dropout", "task_type", "peft_version", "revision",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "auto_mapping", "runtime_config",
    "base_model_name_or_path", "loftq_config", "eva_config", "megatron_core", "qalora_group_size",
))
# fmt: on

_PARTS = re.compile(
    r"^(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector(?:\.weight)?)$"
)


@dataclass(frozen=True)
class LoadedChange:
    """A change in memory, laid out as the weight is.

    Attributes:
        left: (rows of the weight, r), float32.
        right: (r, columns of the weight), float32.
        scale: factor of their product.
        magnitude: with DoRA, of each output feature.
        axis: of the weight along which DoRA's norms are taken: 1, or 0 where output features are columns.
    """

    left: torch.Tensor
    right: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None
    axis: int

    def apply(self, weight: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Change ``weight`` (float32) in place and return it.

        Args:
            weight: whole, or some of its rows where :attr:`Change.by_rows` allows that.
            start: the first of these rows.
        """
        import torch

        rows = slice(start, start + len(weight))
        weight.addmm_(self.left[rows], self.right, alpha=self.scale)
        if self.magnitude is not None:
            norm = torch.linalg.vector_norm(weight, dim=self.axis, keepdim=True)
            magnitude = self.magnitude[rows].reshape(-1, 1) if self.axis == 1 else self.magnitude.reshape(1, -1)
            weight.mul_(magnitude / norm)
        return weight


@dataclass(frozen=True)
class Change:
    """What an adapter does to one weight.

    Attributes:
        parts: ``a`` (r, in), ``b`` (out, r) and, with DoRA, ``magnitude``; for embeddings
            ``a`` is (r, vocabulary) and ``b`` (hidden, r), as PEFT stores them.
        scale: factor of B A.
        embedding: the weight is (vocabulary, hidden), so the change is transposed.
        transposed: the weight is stored (in, out).
    """

    parts: Mapping[str, tuple[str, StoredTensor]]
    scale: float
    embedding: bool
    transposed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight that this change fits."""
        out, into = self.parts["b"][1].shape[0], self.parts["a"][1].shape[1]
        return (into, out) if self.embedding or self.transposed else (out, into)

    @property
    def by_rows(self) -> bool:
        """Whether each row of the weight changes by itself; not where DoRA's norms run down the columns."""
        return "magnitude" not in self.parts or not self._flipped

    def load(self) -> LoadedChange:
        """Read it."""
        a, b = self.matrices()
        left, right = (a.T, b.T) if self._flipped else (b, a)
        magnitude = self._read("magnitude").reshape(-1) if "magnitude" in self.parts else None
        return LoadedChange(left, right, self.scale, magnitude, 0 if self._flipped else 1)

    def apply(self, weight: torch.Tensor) -> torch.Tensor:
        """Change ``weight`` (float32, of :attr:`shape`) in place and return it."""
        return self.load().apply(weight)

    def changes_something(self) -> bool:
        """Whether neither A nor B is zero; magnitudes change the weight without them.

        Before the first step PEFT leaves B zero, and A where the weight is an embedding.
        """
        return "magnitude" in self.parts or all(bool(part.any()) for part in self.matrices())

    def matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``a`` and ``b`` in float32; :attr:`scale` is not in them."""
        return self._read("a"), self._read("b")

    @property
    def _flipped(self) -> bool:
        """Whether output features are the weight's columns."""
        return self.embedding or self.transposed

    def _read(self, part: str) -> torch.Tensor:
        name, info = self.parts[part]
        return read_tensor(name, info).float()


@dataclass(frozen=True)
class Adapter:
    """A whole adapter.

    Attributes:
        changes: weight name (``model.layers.0.self_attn.q_proj.weight``) → its change.
        replacements: tensor name in the model → tensor stored whole in the adapter
            (``modules_to_save``, trained biases).
        bases: weight name → copy of the weight underneath, where PEFT stored one.
        alpha: ``lora_alpha`` of the settings; the scale of each change is its own.
        targets: what the settings say that it changes.
    """

    changes: Mapping[str, Change]
    replacements: Mapping[str, tuple[str, StoredTensor]]
    bases: Mapping[str, tuple[str, StoredTensor]]
    alpha: float = 1.0
    targets: Targets | None = None

    def missing(self, base: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Tensors of a base (name → shape) that its settings say it changes, and it has nothing for."""
        return self.targets.missing(self.changes, self.replacements, base) if self.targets else []


def read_adapter(folder: Path) -> Adapter:
    """Open a PEFT LoRA folder.

    Raises:
        ModelError: missing or damaged files, another kind of adapter, or a setting or
            tensor that cannot be merged; each is named.
    """
    config = read_settings(folder)
    _refuse_unknown_settings(folder, config)
    parts: dict[str, dict[str, tuple[str, StoredTensor]]] = {}
    replacements: dict[str, tuple[str, StoredTensor]] = {}
    bases: dict[str, tuple[str, StoredTensor]] = {}
    unknown = []
    for stored, info in list_tensors(folder).items():
        name = stored.removeprefix(PREFIX)
        if found := _PARTS.match(name):
            parts.setdefault(found["module"], {})[_short(found["part"])] = (stored, info)
        elif name == stored or "lora_" in name or "token_adapter" in name:
            unknown.append(stored)
        elif name.endswith(".base_layer.weight"):
            bases[name.replace(".base_layer.", ".")] = (stored, info)
        else:
            replacements[name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")] = (stored, info)
    if unknown:
        raise ModelError(
            f"{folder}: {len(unknown)} adapter tensors cannot be merged, such as {unknown[0]}",
            hint="only LoRA, rsLoRA and DoRA adapters can be merged",
            problems=unknown,
        )
    changes = {f"{module}.weight": _change(folder, module, found, config) for module, found in parts.items()}
    if both := sorted(set(changes) & set(replacements)):
        raise ModelError(
            f"{folder} both adapts and replaces {both[0]}", hint="target it or save it whole, not both", problems=both
        )
    return Adapter(changes, replacements, bases, float(config["lora_alpha"]), Targets.of(config))


def named_base(folder: Path) -> str:
    """The base that an adapter's settings name.

    Raises:
        ModelError: they name none, or are damaged.
    """
    name = read_settings(folder).get("base_model_name_or_path")
    if not name:
        raise ModelError(f"{folder} does not say which base it was trained on", hint="name it: --base MODEL")
    return str(name)


def _short(part: str) -> str:
    if "magnitude" in part:
        return "magnitude"
    return ("embedding_" if "embedding" in part else "") + ("a" if "_A" in part else "b")


def _change(folder: Path, module: str, found: dict[str, tuple[str, StoredTensor]], config: Mapping[str, Any]) -> Change:
    embedding = "embedding_a" in found or "embedding_b" in found
    parts = {key.removeprefix("embedding_"): value for key, value in found.items()}
    wanted = {"a", "b", "magnitude"} if config.get("use_dora") else {"a", "b"}
    if set(parts) != wanted:
        lacking = ", ".join(sorted(wanted ^ set(parts)))
        raise ModelError(f"{folder}: the adapter of {module} is incomplete or odd ({lacking})", hint="train again")
    rank = _pattern(config.get("rank_pattern"), module, config["r"])
    stored_rank = parts["a"][1].shape[0]
    if rank != stored_rank or parts["b"][1].shape[1] != stored_rank:
        raise ModelError(
            f"{folder}: {CONFIG} gives {module} rank {rank}, its tensors have rank {stored_rank}", hint="train again"
        )
    alpha = float(_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Change(parts, scale, embedding, bool(config.get("fan_in_fan_out")) and not embedding)


def _pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """Value for a module; keys are regular expressions for the end of its name, the first match counts."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default


def read_settings(folder: Path) -> Mapping[str, Any]:
    """``adapter_config.json``.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["peft_type"] == "LORA":
            _ = int(config["r"]), float(config["lora_alpha"])
    except OSError as error:
        raise ModelError(f"{folder} is not an adapter: no {CONFIG}", hint="give a PEFT adapter folder") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder / CONFIG} is damaged: {error!r}", hint="train again") from error
    checked: Mapping[str, Any] = config
    return checked


def _refuse_unknown_settings(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{folder} holds a {config.get('peft_type')} adapter, which cannot be merged",
            hint="only LoRA, rsLoRA and DoRA adapters can be merged",
        )
    problems = [f"{key}: {value!r}" for key, value in config.items() if key not in _UNDERSTOOD and value]
    if config.get("init_lora_weights", True) not in _PLAIN_INITIALISATION:
        problems.append(f"init_lora_weights: {config['init_lora_weights']!r} changes the base weights")
    if problems:
        raise ModelError(
            f"{folder} uses settings that cannot be merged: {problems[0]}",
            hint="only LoRA, rsLoRA and DoRA adapters can be merged",
            problems=problems,
        )
