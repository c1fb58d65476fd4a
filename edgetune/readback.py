"""A written artifact beside what it should hold, for ``edgetune verify``: of exporters that read their own files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact

if TYPE_CHECKING:
    from edgetune.exporters import TunedModel

#: Values of one tensor, in the order of the artifact's file.
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """What a trained model holds in one tensor, and what that is made of.

    Attributes:
        tuned: the final values.
        beneath: what an adapter was put on there; None: no adapter changes it.
        unrounded: the base before it was rounded for training; None: it was not, or no adapter changes it.
    """

    tuned: Values
    beneath: Values | None = None
    unrounded: Values | None = None


@dataclass(frozen=True)
class TensorPair:
    """One tensor of an artifact beside what it should hold, for ``edgetune verify``. Values are read when asked for.

    Attributes:
        name: in the artifact.
        type: as stored, such as ``Q8_0``; empty where the tensor is missing.
        stored: reads what the file holds, dequantised.
        trained: reads what it should hold.
        problem: what is wrong with the tensor as a whole, in words; then there is nothing to read.
        missing: ‖missing‖ / ‖fine-tune‖, what the format cannot hold of a fine-tune, as said when it was written.
        searched: scales were searched for with the importance of inputs, whatever the type does by itself.
        compensated: errors of rounding were made up for in other columns (GPTQ): they are longer, and fit the inputs.
        rounded: rows of trained values as the quantiser that wrote the file rounds them; None: it is not known here.
    """

    name: str
    type: str
    stored: Callable[[], Values] | None = None
    trained: Callable[[], Trained] | None = None
    problem: str | None = None
    missing: float = 0.0
    searched: bool = False
    compensated: bool = False
    rounded: Callable[[Values], Values] | None = None


@runtime_checkable
class ReadsBack(Protocol):
    """An exporter that can read its own artifacts back, so that their weights can be verified."""

    def tensor_pairs(self, model: TunedModel, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
        """Every tensor that the artifact has or should have.

        Args:
            model: trained.
            artifact: exported from it.
            tuned: the trained model's own tensors (torch), merged by PEFT, under transformers' names.

        Raises:
            ArtifactError: the file cannot be read.
            ModelError: the model's weights cannot be read.
        """
        ...

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]:
        """What the artifact's metadata and manifest say that is not so for the model, in words."""
        ...


@runtime_checkable
class MayForget(Protocol):
    """An exporter whose artifacts cannot be judged wholly where something that they were made with is gone."""

    def forgotten(self, model: TunedModel, artifact: Artifact) -> str | None:
        """What of the metadata nobody can tell any more, and why; None: nothing. The rest has been judged."""
        ...
