"""The gradients of a real base and real rows agree with each other, and what they propose can be written."""

from __future__ import annotations

from edgetune.recipe import resolve
from edgetune.recipes import shipped_recipe
from edgetune.sensitivity.choosing import choose
from edgetune.sensitivity.measuring import HEADS, measure


def test_minilm_is_measured_layer_by_layer():
    resolved = resolve(shipped_recipe("sentiment").file, {"train.device": ("cpu", "flag")})
    found = measure(resolved, 32)
    assert len(found.layers) == 6 * 6 + 1
    assert found.heads == HEADS
    kinds = {layer.kind for layer in found.layers if layer.block is not None}
    assert {"attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"} < kinds
    assert {change.key for change in choose(found.layers, resolved.recipe.method)} <= {
        "method.target_modules",
        "method.rank",
        "method.alpha",
    }
