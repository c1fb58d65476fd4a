"""A packed batch is the padded batch: same logits, same gradients, no row sees another."""

from __future__ import annotations

import pytest
import torch
import transformers

from edgetune.data.encoding import IGNORE, Encoded
from edgetune.errors import RecipeError
from edgetune.training.batches import answer_loss, choose_packing, pad
from edgetune.training.packing import ATTENTION, common_prefix, pack, register_attention, unsupported_reason

VOCABULARY = 96
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LAYERS = {"layer_types": ["sliding_attention", "full_attention"], "head_dim": 8}
ARCHITECTURES = {
    "Llama": {},
    "Mistral": {"sliding_window": 5},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "Gemma3": LAYERS | {"sliding_window": 5, "query_pre_attn_scalar": 8},
    "Phi3": {},
    "SmolLM3": {"no_rope_layers": [1, 0]},
    "Granite": {"attention_multiplier": 0.2, "residual_multiplier": 0.5},
    "Olmo2": {},
}


def tiny(name, **changes):
    torch.manual_seed(0)
    config_class = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")
    config = config_class(**SMALL | ARCHITECTURES.get(name, {}) | changes)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def row(prompt, answer):
    return Encoded((*prompt, *answer), (*[IGNORE] * len(prompt), *answer))


SYSTEM = (1, 5, 6, 7, 8, 9, 10)
BATCHES = {
    "system prompt": [row((*SYSTEM, 20, 21), (30, 2)), row((*SYSTEM, 22), (31, 32, 33, 2)), row((*SYSTEM, 23), (2,))],
    "nothing in common": [row((3, 4), (30, 31, 2)), row((5, 6, 7, 8, 9), (40, 2))],
    "identical rows": [row((*SYSTEM, 20), (30, 2))] * 2,
    "plain text": [Encoded((7, 8, 9, 10), (7, 8, 9, 10)), Encoded((7, 8, 11), (7, 8, 11))],
    "one row": [row(SYSTEM, (30, 2))],
    "several turns": [
        Encoded((*SYSTEM, 20, 2, 21, 22, 2), (*[IGNORE] * 7, 20, 2, IGNORE, 22, 2)),
        Encoded((*SYSTEM, 25, 2, 26, 27, 28, 2), (*[IGNORE] * 7, 25, 2, IGNORE, 27, 28, 2)),
    ],
    "answers begin at different places": [
        Encoded((*SYSTEM, 20, 21, 2), (*[IGNORE] * 9, 2)),
        Encoded((1, 5, 6, 7, 40, 2), (*[IGNORE] * 4, 40, 2)),
    ],
}


def packed(model, rows, share=True):
    register_attention()
    model.set_attn_implementation(ATTENTION)
    return step(model, pack(rows, share_prefix=share))


def padded(model, rows):
    model.set_attn_implementation("sdpa")
    return step(model, pad(rows, 0))


def step(model, batch):
    """Logits at learnt positions in the rows' order, and all gradients."""
    model.zero_grad()
    answer_loss(model, batch).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    inputs = {key: value for key, value in batch.items() if key not in ("shift_labels", "tokens")}
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits
    learnt = batch["shift_labels"] != IGNORE
    return logits[learnt], gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("share", [True, False])
def test_packed_is_padded(architecture, share):
    model = tiny(architecture)
    assert unsupported_reason(model) is None
    rows = BATCHES["system prompt"]
    expected, expected_gradients = padded(model, rows)
    found, gradients = packed(model, rows, share)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("rows", BATCHES.values(), ids=BATCHES)
def test_any_rows(rows):
    model = tiny("Llama")
    expected, expected_gradients = padded(model, rows)
    found, gradients = packed(model, rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-5, rtol=1e-4, msg=name)


def test_the_window_matters_at_this_length():
    """Else the comparison of Mistral would say nothing about its window."""
    narrow, wide = tiny("Mistral"), tiny("Mistral", sliding_window=None)
    rows = BATCHES["system prompt"]
    assert not torch.allclose(packed(narrow, rows)[0], packed(wide, rows)[0], atol=1e-3)


def test_rows_do_not_see_each_other():
    model, rows = tiny("Qwen3"), list(BATCHES["system prompt"])
    before, _ = packed(model, rows)
    rows[1] = row((*SYSTEM, 50), (51, 52, 53, 2))
    after, _ = packed(model, rows)
    assert torch.equal(before[:2], after[:2])  # two labels of row 0
    assert torch.equal(before[6:], after[6:])
    assert not torch.allclose(before[2:6], after[2:6], atol=1e-3)


def test_gradient_checkpointing_changes_nothing():
    model, rows = tiny("Llama"), BATCHES["system prompt"]
    _, expected = packed(model, rows)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    _, found = packed(model.train(), rows)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_the_prefix_ends_before_what_predicts_a_label():
    assert common_prefix(BATCHES["identical rows"]) == len(SYSTEM)
    assert common_prefix(BATCHES["system prompt"]) == len(SYSTEM)
    assert common_prefix(BATCHES["plain text"]) == 0
    assert common_prefix(BATCHES["answers begin at different places"]) == 3


def test_tokens_are_laid_down_once():
    batch = pack(BATCHES["system prompt"])
    rows = BATCHES["system prompt"]
    assert batch["input_ids"].numel() == sum(len(r.input_ids) for r in rows) - 2 * len(SYSTEM)
    assert batch["tokens"] == sum(len(r.input_ids) for r in rows)
    assert batch["shift_labels"].tolist() == [[30, 2, 31, 32, 33, 2, 2]]


def test_capped_attention_is_refused_with_the_reason():
    model = tiny("Gemma2", attn_logit_softcapping=20.0, **LAYERS)
    choice = choose_packing(model, "auto")
    assert choice.value == "off"
    assert "caps logits" in choice.reason
    with pytest.raises(RecipeError, match="caps logits"):
        choose_packing(model, "prefix")


def test_what_is_asked_for_is_done():
    model = tiny("Llama")
    assert choose_packing(model, "off").value == "off"
    assert choose_packing(model, "prefix").value == choose_packing(model, "auto").value == "prefix"
