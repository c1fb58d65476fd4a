"""Both forms of attention are the same function, with the same gradients, in every layout."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from edgetune.training import short_attention
from edgetune.training.short_attention import attend, plain


def operands(rows=3, heads=6, key_heads=2, queries=5, keys=9, width=8, dtype=torch.float64):
    torch.manual_seed(1)
    shapes = ((rows, heads, queries, width), (rows, key_heads, keys, width), (rows, key_heads, keys, width))
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes], seen


@pytest.mark.parametrize(("heads", "key_heads"), [(6, 2), (4, 4), (4, 1)])
@pytest.mark.parametrize("scaling", [0.125, 1.0])
def test_plain_is_attention(heads, key_heads, scaling):
    tensors, seen = operands(heads=heads, key_heads=key_heads)
    expected = scaled_dot_product_attention(*tensors, attn_mask=seen, scale=scaling, enable_gqa=True)
    got = plain(*tensors, seen, scaling)
    torch.testing.assert_close(got, expected)
    weights = torch.randn_like(got)
    ours = torch.autograd.grad(got, tensors, weights)
    for own, theirs in zip(ours, torch.autograd.grad(expected, tensors, weights), strict=True):
        torch.testing.assert_close(own, theirs)


def test_the_default_scaling_is_that_of_pytorch():
    tensors, seen = operands()
    expected = scaled_dot_product_attention(*tensors, attn_mask=seen, enable_gqa=True)
    torch.testing.assert_close(attend(*tensors, seen, scaling=None, dropout=0.0), expected)


@pytest.mark.parametrize(
    ("keys", "dropout", "taken"), [(9, 0.0, True), (short_attention.LONGEST + 1, 0.0, False), (9, 0.1, False)]
)
def test_long_rows_and_dropout_take_the_fused_form(monkeypatch, keys, dropout, taken):
    calls = []
    monkeypatch.setattr(short_attention, "plain", lambda *args: calls.append(args) or plain(*args))
    tensors, seen = operands(keys=keys)
    attend(*tensors, seen, scaling=None, dropout=dropout)
    assert bool(calls) == taken
