"""What every method is exported in."""

from __future__ import annotations

import pytest

from edgetune.methods.device import format_of
from edgetune.recipe import validate


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
