"""Each method trains what it says, and nothing else moves by a bit."""

from __future__ import annotations

import pytest
import torch
from tinymodels import tiny_model

from edgetune.errors import RecipeError
from edgetune.models.nf4 import nf4_round_trip
from edgetune.recipe import MethodSettings
from edgetune.training.methods import apply_method, default_learning_rate, linear_layers, quantise

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def moved(kind, model=None, **settings):
    """Names of the parameters that one optimiser step changes, and what was chosen."""
    model = model or tiny_model("llama")
    adapted = apply_method(model, MethodSettings(kind=kind, rank=2, **settings))
    network = adapted.model
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.1)
    for _ in range(2):  # A's gradient is zero while B is
        optimiser.zero_grad()
        network(input_ids=torch.tensor([[5, 6, 7, 8]])).logits.square().mean().backward()
        optimiser.step()
    return {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}, adapted


@pytest.mark.parametrize("kind", ["lora", "qlora", "dora", "rslora"])
def test_adapters(kind):
    names, adapted = moved(kind)
    assert all("lora_" in name for name in names)
    assert {part for name in names for part in name.split(".") if part in LINEAR} == LINEAR
    assert len(names) == 2 * 7 * (3 if kind == "dora" else 2)
    assert adapted.trained_against == ("nf4" if kind == "qlora" else "base")
    assert len(adapted.quantised_modules) == (14 if kind == "qlora" else 0)


def test_named_modules_and_modules_to_save():
    names, _ = moved("lora", target_modules=("q_proj", "v_proj"), modules_to_save=("lm_head",))
    assert sum("lora_" in name for name in names) == 2 * 2 * 2
    assert [name for name in names if "lora_" not in name] == [
        "base_model.model.lm_head.modules_to_save.default.weight"
    ]


def test_full_trains_everything():
    names, adapted = moved("full")
    assert names == {name for name, _ in adapted.model.named_parameters()}
    assert adapted.trained_against is None


def test_freeze_last_layers():
    names, _ = moved("freeze", train_last_layers=1)
    assert all(name.startswith("model.layers.1.") or name == "model.norm.weight" for name in names)
    assert len(names) == 9 + 1


def test_freeze_patterns():
    names, _ = moved("freeze", train_patterns=(r"layers\.0\.mlp", "norm"))
    assert {n for n in names if "mlp" in n} == {
        f"model.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up", "down")
    }
    assert len(names) == 3 + 5


def test_freeze_head():
    names, adapted = moved("freeze", train_head_only=True)
    assert names == {"lm_head.weight", "model.norm.weight"}
    assert "tied" not in adapted.choices["trained"]


def test_freeze_tied_head_says_so():
    names, adapted = moved("freeze", tiny_model("llama", tie_word_embeddings=True), train_head_only=True)
    assert names == {"model.embed_tokens.weight", "model.norm.weight"}
    assert "tied to the embedding" in adapted.choices["trained"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "lora", "target_modules": ("q_proj", "qq")}, "no module called qq"),
        ({"kind": "lora", "modules_to_save": ("hed",)}, "no module called hed"),
        ({"kind": "freeze", "train_patterns": ("nothing",)}, "no parameter matches nothing"),
        ({"kind": "freeze", "train_last_layers": 3}, "the model has 2 layers"),
    ],
)
def test_what_is_not_there_is_named(settings, message):
    with pytest.raises(RecipeError, match=message) as caught:
        apply_method(tiny_model("llama"), MethodSettings(**settings))
    assert caught.value.hint


def test_quantised_weights_are_the_round_trip():
    model, plain = tiny_model("llama"), tiny_model("llama")
    names = quantise(model, packed=False)
    assert set(names) == set(linear_layers(plain))
    assert "lm_head" not in names
    for name in names:
        assert torch.equal(model.get_submodule(name).weight, nf4_round_trip(plain.get_submodule(name).weight))
    assert torch.equal(model.lm_head.weight, plain.lm_head.weight)


def test_packed_and_dequantised_compute_the_same():
    packed, dequantised = tiny_model("llama"), tiny_model("llama")
    quantise(packed, packed=True)
    quantise(dequantised, packed=False)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    weight = packed.model.layers[0].self_attn.q_proj.weight
    assert weight.dtype == torch.uint8
    assert weight.numel() == 32 * 32 // 2
    with torch.no_grad():
        torch.testing.assert_close(packed(ids).logits, dequantised(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("storage", ["4bit", "dequantised"])
def test_both_storages_train(storage):
    names, adapted = moved("qlora", base_storage=storage)
    assert len(names) == 28
    assert adapted.choices["base_storage"] == f"{storage} (as asked)"


def test_storage_is_chosen_by_memory(monkeypatch):
    from edgetune.training import memory, methods

    model = tiny_model("llama")
    assert methods.choose_storage(model, "auto").value == "dequantised"
    monkeypatch.setattr(memory, "available_memory", lambda _: 1000)
    choice = methods.choose_storage(model, "auto")
    assert choice.value == "4bit"
    assert "free on cpu" in choice.reason


def test_rates():
    assert default_learning_rate(MethodSettings(kind="dora")) == 2e-4
    assert default_learning_rate(MethodSettings(kind="full")) == 2e-5
