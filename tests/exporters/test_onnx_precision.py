"""One name for one set of numbers."""

import pytest
from edgetune_onnx.precision import NAMES, Precision, parse_precision

from edgetune.errors import ExportError


@pytest.mark.parametrize("name", [*NAMES, "int4_rtn_mixed_b64_a1", "int8_k_quant_b128", "int4_b16"])
def test_a_name_is_read_back(name):
    assert parse_precision(name).name == name


def test_what_is_left_out_is_the_default():
    assert parse_precision("int4") == parse_precision("INT4-k_quant_b32_a4") == Precision("int4", "k_quant")
    assert parse_precision("int8") == parse_precision("int8_rtn")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("q4_0", "has no precision 'q4_0'"),
        ("int4_awq", "has no precision"),
        ("fp32_b64", "rounds nothing"),
        ("int8_mixed", "four-bit model"),
        ("int8_gptq", "gptq is for four bits"),
        ("int4_b48", "blocks are of 16, 32"),
        ("int4_a9", "accuracy levels are 0 to 4"),
    ],
)
def test_nonsense_is_named(name, message):
    with pytest.raises(ExportError, match=message) as caught:
        parse_precision(name)
    assert "fp32" in caught.value.hint


def test_bits_of_matrices():
    mixed = parse_precision("int4_mixed")
    bits = [mixed.matrix_bits(f"model.layers.{layer}.mlp.down_proj.weight", 30, tied=True) for layer in range(30)]
    assert bits[:4] == [8] * 4
    assert bits[-3:] == [8] * 3
    assert bits[4:27].count(8) == 7  # every third
    assert mixed.matrix_bits("model.layers.0.mlp.up_proj.weight", 30, tied=True) == 4
    assert mixed.matrix_bits("model.layers.0.self_attn.q_norm.weight", 30, tied=True) is None
    assert mixed.matrix_bits("model.embed_tokens.weight", 30, tied=True) == 8
    assert mixed.matrix_bits("model.embed_tokens.weight", 30, tied=False) is None
    assert parse_precision("fp16").matrix_bits("lm_head.weight", 30, tied=False) is None
