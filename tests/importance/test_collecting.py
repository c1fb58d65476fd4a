"""What is added up is the squared input of each layer, over every token of every text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tinyexports import save_model

from edgetune.errors import DataError
from edgetune.importance.collecting import PASSAGE, collect, passages, rows_within


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "base", "Llama").eval()


def test_it_is_the_sum_of_squared_inputs(model):
    texts = [[5, 6, 7, 8], [9, 10]]
    found = collect(model, texts, ["some text"])
    assert (found.tokens, found.texts) == (6, ("some text",))
    expected = torch.zeros(model.config.hidden_size, dtype=torch.float64)
    for ids in texts:
        hidden = model.model.embed_tokens(torch.tensor([ids]))
        expected += model.model.layers[0].input_layernorm(hidden)[0].double().square().sum(0)
    for part in ("q_proj", "k_proj", "v_proj"):
        np.testing.assert_allclose(found.squares[f"model.layers.0.self_attn.{part}"], expected.detach(), rtol=1e-5)
    layers = model.config.num_hidden_layers
    assert len(found.squares) == 7 * layers, "every linear layer but the head"
    assert found.squares[f"model.layers.{layers - 1}.mlp.down_proj"].shape == (model.config.intermediate_size,)


def test_nothing_stays_behind(model):
    collect(model, [[5, 6]], [])
    assert not any(module._forward_pre_hooks for module in model.modules())
    with pytest.raises(DataError, match="no text"):
        collect(model, [[]], [])
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_passages_are_spread_and_do_not_overlap():
    ids = list(range(PASSAGE * 20))
    found = passages(ids, 4 * PASSAGE, seed=1)
    assert [len(one) for one in found] == [PASSAGE] * 4
    assert len({token for one in found for token in one}) == 4 * PASSAGE
    assert found != passages(ids, 4 * PASSAGE, seed=2)
    assert passages([1, 2, 3], 1000, seed=1) == [[1, 2, 3]]


def test_rows_are_drawn_up_to_the_wanted_length():
    rows = [[number] * 10 for number in range(50)]
    found = rows_within(rows, 95, seed=1)
    assert len(found) == 10
    assert len({row[0] for row in found}) == 10
    assert found != rows_within(rows, 95, seed=2)
    assert len(rows_within(rows, 10_000, seed=1)) == 50
