"""Which tensors an adapter's settings say it has, so that one with tensors missing is seen.

The rules are PEFT's own (``check_target_module_exists``), read and compared with it in ``tests/adapters``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

ALL_LINEAR = "all-linear"
#: Head and embedding: ``all-linear`` means neither.
_ENDS = ("lm_head", "embed_tokens")


@dataclass(frozen=True)
class Targets:
    """What an adapter's settings say that it changes.

    Attributes:
        modules: names or ends of names; a text is a regular expression; None: the settings name none.
        excluded: the same, of modules left out.
        layers: numbers of the layers; None: all.
        patterns: names of the lists of layers that those numbers count.
        saved: modules stored whole.
        bias: ``none``, ``all`` or ``lora_only``.
    """

    modules: str | tuple[str, ...] | None
    excluded: str | tuple[str, ...]
    layers: tuple[int, ...] | None
    patterns: tuple[str, ...]
    saved: tuple[str, ...]
    bias: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Targets:
        """From ``adapter_config.json``."""
        layers = settings.get("layers_to_transform")
        return cls(
            modules=_names(settings.get("target_modules")) or None,
            excluded=_names(settings.get("exclude_modules")),
            layers=None if layers in (None, []) else (layers,) if isinstance(layers, int) else tuple(layers),
            patterns=_listed(settings.get("layers_pattern")),
            saved=_listed(settings.get("modules_to_save")),
            bias=str(settings.get("bias") or "none"),
        )

    def targets(self, module: str) -> bool:
        """Whether a module of the base is to be changed."""
        if self.modules is None or _matches(self.excluded, module):
            return False
        if any(re.match(rf"(^|.*\.){name}($|\..*)", module) for name in self.saved):
            return False
        if self.modules == ALL_LINEAR:
            return not module.endswith(_ENDS)
        if isinstance(self.modules, str) or module in self.modules:
            return _matches(self.modules, module)
        return _matches(self.modules, module) and self._in_layers(module)

    def missing(
        self, changed: Collection[str], whole: Collection[str], base: Mapping[str, tuple[int, ...]]
    ) -> list[str]:
        """Weights and biases that the adapter should have and has not.

        Args:
            changed: weights that it changes.
            whole: tensors that it stores whole.
            base: name → shape of every tensor of the base; a tied head among them.
        """
        matrices = [name for name, shape in base.items() if name.endswith(".weight") and len(shape) == 2]
        wanted = [name for name in matrices if self.targets(name.removesuffix(".weight")) and name not in changed]
        stored = [name for name in base if self._is_saved(name) and name not in whole]
        return [*wanted, *stored, *(name for name in self._biases(changed, base) if name not in whole)]

    def _in_layers(self, module: str) -> bool:
        if self.layers is None:
            return True
        patterns = self.patterns or (r"[^.]*",)
        found = next((at for one in patterns if (at := re.match(rf".*\.{one}\.(\d+)\.", module))), None)
        return found is not None and int(found[1]) in self.layers

    def _is_saved(self, tensor: str) -> bool:
        return any(f".{name}." in f".{tensor}" for name in self.saved)

    def _biases(self, changed: Collection[str], base: Mapping[str, tuple[int, ...]]) -> list[str]:
        biases = [name for name in base if name.endswith(".bias")]
        if self.bias == "all":
            return biases
        own = {f"{name.removesuffix('.weight')}.bias" for name in changed}
        return [name for name in biases if name in own] if self.bias == "lora_only" else []


def _names(value: Any) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else _listed(value)


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))


def _matches(names: str | tuple[str, ...], module: str) -> bool:
    """Whether a regular expression, or one of some names or ends of names, is the module's."""
    if isinstance(names, str):
        return bool(names) and re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)
