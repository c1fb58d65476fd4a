"""What every method is exported in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgetune.bench.classifying import _require_possible
from edgetune.bench.plan import Plan
from edgetune.methods import device
from edgetune.methods.device import format_of
from edgetune.recipe import resolve, validate
from edgetune.recipes import find_recipe


@pytest.mark.parametrize(
    ("exports", "expected"),
    [
        ([], ("gguf", "q8_0")),
        ([{"format": "onnx"}], ("onnx", "int8")),
        ([{"quant": ["f16", "Q8-0"]}, {"format": "onnx"}], ("gguf", "q8_0")),
        ([{"format": "onnx", "quant": ["fp32", "fp16"]}], ("onnx", "fp16")),
    ],
)
def test_eight_bits_unless_the_recipe_asks_for_others_only(exports, expected):
    recipe = validate({"name": "a", "model": {"source": "m"}, "data": {"train": "r.jsonl"}, "exports": exports}, "test")
    assert format_of(recipe) == expected


def test_every_kind_of_recipe_can_be_timed_as_planned():
    """With the plan that the command has, not one of a test."""
    for name, classifies in (("sentiment", True), ("digits", True), ("smart-home", False)):
        plan = device.plan_for(resolve(find_recipe(name)).recipe)
        assert plan.new_tokens == (Plan.new_tokens if classifies else device.NEW_TOKENS)
    writes = SimpleNamespace(classifies=True, task="text-classification", name="x")
    _require_possible([writes], device.plan_for(resolve(find_recipe("sentiment")).recipe))
