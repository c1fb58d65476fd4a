"""The fused step against PEFT's own layer."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from edgetune.training.fast_lora import speed_up


def peft_model(bias=True, dtype=torch.float32, **options):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(12, 20, bias=bias), nn.Tanh(), nn.Linear(20, 8, bias=bias)).to(dtype)
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["0", "2"], init_lora_weights=False, **options)
    return get_peft_model(inner, config)


def step(model, x, autocast=False):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = model(x)
        y.float().square().sum().backward()
    return y, x.grad, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def compare(model, x, tolerance, autocast=False):
    fused = copy.deepcopy(model)
    assert speed_up(fused) == 2
    y, dx, gradients = step(fused, x, autocast)
    expected, expected_dx, expected_gradients = step(model, x, autocast)
    close = {"rtol": tolerance, "atol": tolerance, "check_dtype": False}
    torch.testing.assert_close(y, expected, **close)
    torch.testing.assert_close(dx, expected_dx, **close)
    assert len(gradients) == 4
    for name, gradient in gradients.items():
        assert gradient.dtype == expected_gradients[name].dtype
        difference = (gradient - expected_gradients[name]).norm() / expected_gradients[name].norm()
        assert difference < tolerance, name


@pytest.mark.parametrize("bias", [True, False])
def test_is_pefts_layer(bias):
    compare(peft_model(bias), torch.randn(2, 5, 12), 1e-5)


def test_is_pefts_layer_in_bfloat16():
    compare(peft_model(dtype=torch.bfloat16), torch.randn(2, 5, 12).bfloat16(), 3e-2)


def test_is_pefts_layer_under_autocast():
    compare(peft_model(), torch.randn(2, 5, 12), 3e-2, autocast=True)


def test_rslora_scaling():
    compare(peft_model(use_rslora=True), torch.randn(2, 5, 12), 1e-5)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_other_layers_are_left_alone(options):
    assert speed_up(peft_model(**options)) == 0


def test_adapters_switched_off():
    model = peft_model()
    x = torch.randn(3, 12)
    speed_up(model)
    with_adapter = model(x)
    with model.disable_adapter():
        torch.testing.assert_close(model(x), copy.deepcopy(model).unload()(x))
        assert not torch.allclose(model(x), with_adapter, atol=1e-3)


def test_merged_adapters_count_once():
    model = peft_model()
    x = torch.randn(3, 12)
    speed_up(model)
    before = model(x)
    model.merge_adapter()
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
