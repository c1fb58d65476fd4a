"""What gradients say of each layer, and what was proposed from it, as stored."""

from __future__ import annotations

from typing import Literal

from edgetune.data.advice import Advice
from edgetune.stored import Stored

#: Ranks that can be proposed.
RANKS = (2, 4, 8, 16, 32, 64)


class LayerGradients(Stored):
    """One linear layer or convolution, at the base's own weights.

    G is the gradient of the loss per learnt token, or per input to classify.
    """

    name: str
    block: int | None
    """Number of the transformer block it lies in; None: outside of them."""
    kind: str
    """The rest of its name: what it is in every block, such as ``self_attn.q_proj``."""
    outputs: int
    inputs: int
    """Of a convolution: channels times height times width of its kernel."""
    weight_norm: float
    """Frobenius norm of the weights."""
    products: tuple[tuple[float, ...], ...]
    """⟨Gᵢ, Gⱼ⟩ of each two groups of rows."""
    kept: tuple[tuple[float, ...], tuple[float, ...]]
    """For each of :data:`RANKS`: ⟨the best approximation of G at that rank, G'⟩, where G is of one half of the rows
    and G' of the other; both ways round."""


class Sensitivity(Stored):
    """All layers, and what the figures rest on."""

    kind: Literal["edgetune-sensitivity"] = "edgetune-sensitivity"
    schema_version: Literal[1] = 1
    recipe: str
    base_sha256: str
    base_source: str
    data_sha256: str
    """Of the training rows."""
    rows: int
    """Training rows whose gradients were taken, chosen by seed."""
    groups: int
    """Of rows, as many in each."""
    heads: int
    """Classifiers: heads drawn at random, over which the figures are means; 0: the base has its own head."""
    seed: int
    device: str
    dtype: str
    seconds: float
    layers: tuple[LayerGradients, ...]


class Suggestion(Stored):
    """Proposed settings and the measurement behind them."""

    kind: Literal["edgetune-suggestion"] = "edgetune-suggestion"
    schema_version: Literal[1] = 1
    sensitivity: Sensitivity
    changes: tuple[Advice, ...]
    """None where the rows do not agree well enough to tell layers apart."""
    created: str
    """UTC, ISO 8601."""
    edgetune: str
