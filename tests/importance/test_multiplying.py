"""The products are sums of x xᵀ over every token, and what reads the same tensor shares them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tinyexports import save_model

from edgetune.errors import ModelError, OutOfMemory
from edgetune.importance import collecting
from edgetune.importance.collecting import collect

TEXTS = [[5, 6, 7, 8], [9, 10]]


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "base", "Llama").eval()


def test_they_are_sums_over_tokens_of_inputs_times_inputs(model):
    found = collect(model, TEXTS, ["some text"], products=True)
    hidden = [model.model.embed_tokens(torch.tensor([ids])) for ids in TEXTS]
    first = torch.cat([model.model.layers[0].input_layernorm(one)[0] for one in hidden]).double()
    for part in ("q_proj", "k_proj", "v_proj"):
        name = f"model.layers.0.self_attn.{part}"
        np.testing.assert_allclose(found.products[name], (first.T @ first).detach(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.squares[name], found.products[name].diagonal())
    plain = collect(model, TEXTS, ["some text"])
    for name, squares in plain.squares.items():
        np.testing.assert_allclose(found.squares[name], squares, rtol=1e-4)


def test_the_head_counts_at_every_position(model):
    found = collect(model, TEXTS, [], products=True)
    last = torch.cat([model.model(torch.tensor([ids])).last_hidden_state[0] for ids in TEXTS]).double()
    np.testing.assert_allclose(found.products["lm_head"], (last.T @ last).detach(), rtol=1e-4, atol=1e-5)


def test_modules_that_read_the_same_tensor_share_an_array(model):
    found = collect(model, TEXTS, [], products=True).products
    layer = "model.layers.1"
    assert found[f"{layer}.self_attn.q_proj"] is found[f"{layer}.self_attn.v_proj"]
    assert found[f"{layer}.mlp.gate_proj"] is found[f"{layer}.mlp.up_proj"]
    assert found[f"{layer}.mlp.gate_proj"] is not found[f"{layer}.self_attn.q_proj"]
    assert len({id(one) for one in found.values()}) == 4 * model.config.num_hidden_layers + 1


def test_nothing_stays_behind(model):
    collect(model, TEXTS, [], products=True)
    hooks = [(module._forward_pre_hooks, module._forward_hooks) for module in model.modules()]
    assert not any(before or after for before, after in hooks)


def test_what_would_not_fit_is_refused_before(model, monkeypatch):
    def refuse(needed, what):
        raise OutOfMemory(f"{what}: {needed}")

    monkeypatch.setattr(collecting, "require_memory", refuse)
    with pytest.raises(OutOfMemory, match="products of inputs"):
        collect(model, TEXTS, [], products=True)


def test_a_model_that_computes_no_numbers_is_refused(model):
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="is not finite"):
        collect(model, TEXTS, [], products=True)
