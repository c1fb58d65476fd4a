from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from edgetune.data.encoding import IGNORE, Encoded
from edgetune.training import batches
from edgetune.training.batches import collate_for, pad, summed_cross_entropy


@pytest.mark.parametrize("cached", [1 << 19, 150, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_cross_entropy_is_torchs(monkeypatch, dtype, tolerance, cached):
    monkeypatch.setattr(batches, "CACHED", cached)  # all seven positions at a time, three, one
    torch.manual_seed(0)
    values = (5 * torch.randn(7, 50)).to(dtype)
    targets = torch.tensor([3, IGNORE, 0, 49, 7, IGNORE, 7])
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    loss = summed_cross_entropy(ours * 1, targets)
    expected = cross_entropy(theirs.float(), targets, ignore_index=IGNORE, reduction="sum")
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    assert ours.grad.dtype == dtype
    torch.testing.assert_close(ours.grad.float(), theirs.grad.float(), rtol=tolerance, atol=tolerance)
    assert not ours.grad[1].any()
    assert not ours.grad[5].any()


def test_nothing_learnt_is_zero():
    logits = torch.randn(2, 5, requires_grad=True)
    loss = summed_cross_entropy(logits * 1, torch.full((2,), IGNORE))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_padding():
    rows = [Encoded((5, 6, 7), (IGNORE, IGNORE, 7)), Encoded((5, 8, 9, 10), (IGNORE, IGNORE, IGNORE, 10))]
    batch = pad(rows, 0)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [5, 8, 9, 10]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["logits_to_keep"].tolist() == [1, 2]
    assert batch["shift_labels"].tolist() == [[7, IGNORE], [IGNORE, 10]]
    assert batch["tokens"] == 7


def test_collate_follows_the_choice():
    rows = [Encoded((5, 6), (IGNORE, 6))]
    assert "grid" in collate_for("prefix", 0)(rows)
    assert "attention_mask" in collate_for("off", 0)(rows)
