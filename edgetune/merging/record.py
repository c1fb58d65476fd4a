"""What ``edgetune merge`` found and did, as stored in ``merge.json`` of the run and beside the merged model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.run import TrainedAgainst
from edgetune.stored import Stored, read_if_sound

#: The record beside a merged model. (A run has it as ``merge.json``.)
FILE = "edgetune_merge.json"
#: ``base``: merged into the base as it is stored; ``nf4``: into the base with the layers rounded that training rounded.
FormName = Literal["unmerged", "base", "nf4"]


class Form(Stored):
    """The trained model in one form, on the held-out rows."""

    name: FormName
    tensor_types: dict[str, int] = Field(default={})
    """Of a merged form: type → number of tensors, as written. The evaluation is of the values rounded so."""
    scores: tuple[Score, ...]
    """The loss, then the first task metric where the rows have answers."""
    differences: tuple[Difference, ...] = ()
    """Of a merged form: of the same figures, this form minus unmerged, paired by row."""
    lost: int = 0
    """Rows that unmerged answers right and this form wrong."""
    gained: int = 0
    """The other way round."""


class Rounding(Stored):
    """How large the rounding of the base is beside what was learnt: ‖W16 - dequant(W4)‖ / ‖ΔW‖ of a layer.

    ΔW is what the adapter changes in the layer's weight, W16 the weight as the base stores it.
    """

    layers: int
    """Layers that were rounded and have an adapter that changes anything."""
    median: float
    low: float
    high: float


class MergeRecord(Stored):
    """A choice of base with its evidence."""

    kind: Literal["edgetune-merge"] = "edgetune-merge"
    schema_version: Literal[1] = 1
    run: str
    trained_against: TrainedAgainst
    weights_sha256: str
    """Over base and adapter."""
    data_sha256: str
    """Of the held-out rows."""
    rows: int
    groups: int | None
    """Groups that the intervals draw whole; None: rows were taken as independent."""
    forms: tuple[Form, ...]
    """Unmerged first."""
    rounding: Rounding | None
    """None: nothing was rounded."""
    chosen: TrainedAgainst
    """What the adapter is merged into."""
    reason: str
    rule: str
    notes: tuple[str, ...] = ()
    """What else the user should know."""
    output: str | None
    """The merged model; None: it was not written."""
    size_bytes: int = 0
    """Of its weights."""
    created: str
    """UTC, ISO 8601."""
    seconds: float
    edgetune: str

    def form(self, name: FormName) -> Form:
        """The form called ``name``.

        Raises:
            KeyError: it makes no sense for this adapter.
        """
        return {form.name: form for form in self.forms}[name]


def load(path: Path) -> MergeRecord | None:
    """The record in a file; None: there is none, or it is damaged."""
    return read_if_sound(path, MergeRecord)
