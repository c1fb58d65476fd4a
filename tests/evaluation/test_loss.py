"""Loss on answer tokens: batched torch, plain torch and runtime logits agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from edgetune.evaluation.loss import answer_positions, batches, runtime_losses, torch_losses


@dataclass(frozen=True)
class Row:
    input_ids: list[int]
    labels: list[int]


def random_rows(count=9, vocabulary=97, seed=0, shared=0):
    """Rows of random tokens, the first ``shared`` the same in all."""
    generator = np.random.default_rng(seed)
    beginning = generator.integers(1, vocabulary, size=shared).tolist()
    rows = []
    for _ in range(count):
        ids = beginning + generator.integers(1, vocabulary, size=int(generator.integers(4, 24))).tolist()
        start = int(generator.integers(shared + 1, len(ids) - 1))
        middle = int(generator.integers(start, len(ids)))
        # two answers with a question between them, sometimes
        labels = [t if i >= start and i != middle else -100 for i, t in enumerate(ids)]
        rows.append(Row(ids, labels))
    return rows


def tiny_model(kind="llama"):
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    if kind == "gemma2":  # soft-caps its logits after the head
        return Gemma2ForCausalLM(Gemma2Config(**sizes, head_dim=8, final_logit_softcapping=0.5)).eval()
    if kind == "gemma3":  # its first layer looks back 4 tokens only
        kinds = ["sliding_attention", "full_attention"]
        return Gemma3ForCausalLM(Gemma3TextConfig(**sizes, head_dim=8, sliding_window=4, layer_types=kinds)).eval()
    return LlamaForCausalLM(LlamaConfig(**sizes)).eval()


def one_by_one(model, row):
    labels = torch.tensor([row.labels])
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1].double()
    losses = torch.nn.functional.cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum")
    return float(losses), float((labels[0, 1:] != -100).sum())


class LogitsOnly:
    """A runtime that only computes logits."""

    def __init__(self, model):
        self.model = model

    def logits(self, tokens, start=0):
        with torch.inference_mode():
            return self.model(input_ids=torch.tensor([tokens])).logits[0, start:].float().numpy()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gemma3"])
@pytest.mark.parametrize("budget", [1, 40, 4096])
@pytest.mark.parametrize("shared", [0, 20])
def test_batching_and_sharing_change_nothing(kind, budget, shared):
    model, rows = tiny_model(kind), random_rows(shared=shared)
    expected = [one_by_one(model, row) for row in rows]
    assert np.allclose(torch_losses(model, rows, token_budget=budget), expected, rtol=1e-4)


def test_runtime_logits_give_the_same_loss():
    model, rows = tiny_model(), random_rows()
    assert np.allclose(runtime_losses(LogitsOnly(model), rows), torch_losses(model, rows), rtol=1e-4)


def test_a_model_without_logits_to_keep_gives_the_same_loss(monkeypatch):
    model, rows = tiny_model(), random_rows(shared=9)
    expected = torch_losses(model, rows)
    original = model.forward

    def forward(input_ids, use_cache, past_key_values, attention_mask=None):
        return original(input_ids, attention_mask, past_key_values=past_key_values, use_cache=use_cache)

    monkeypatch.setattr(model, "forward", forward)
    assert np.allclose(torch_losses(model, rows), expected, rtol=1e-5)


def test_the_head_sees_answer_positions_only(monkeypatch):
    model = tiny_model()
    seen = []
    model.lm_head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    torch_losses(model, [Row([1] * 20, [-100] * 17 + [1, 1, 1])] * 2)
    # the common beginning needs no head at all; one column is the least a model can be asked for
    assert seen == [(1, 1, 32), (2, 3, 32)]


def test_what_all_rows_begin_with_is_computed_once(monkeypatch):
    model, seen = tiny_model(), []
    model.model.layers[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[:2]))
    rows = random_rows(count=5, shared=30)
    torch_losses(model, rows)
    assert seen[0] == (1, 30)
    assert seen[1] == (5, max(len(row.input_ids) for row in rows) - 30)


def test_an_answer_that_begins_at_once_is_not_swallowed_by_the_common_beginning():
    model = tiny_model()
    rows = [Row(list(range(1, 21)), [-100] * 10 + list(range(11, 21)))] * 3
    assert np.allclose(torch_losses(model, rows), [one_by_one(model, row) for row in rows], rtol=1e-4)


def test_a_peft_model_keeps_the_head_small_too():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()
    seen = []
    model.base_model.model.lm_head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[1]))
    rows = random_rows()
    got = torch_losses(model, rows[:1])
    assert seen == [len(answer_positions(rows[0]))]
    assert np.allclose(got, [one_by_one(model, rows[0])], rtol=1e-4)


def test_rows_without_answer_tokens_count_nothing():
    empty = Row([1, 2, 3], [-100, -100, -100])
    assert torch_losses(tiny_model(), [empty]) == [(0.0, 0.0)]
    assert runtime_losses(LogitsOnly(tiny_model()), [empty]) == [(0.0, 0.0)]


def test_the_first_token_is_never_scored():
    row = Row([1, 2], [1, 2])
    assert answer_positions(row) == [1]
    assert torch_losses(tiny_model(), [row])[0][1] == 1


def test_progress_ends_at_the_row_count():
    model, rows, seen = tiny_model(), random_rows(), []
    torch_losses(model, rows, seen.append, token_budget=40)
    assert seen == sorted(seen)
    assert seen[-1] == len(rows)


def test_batches_keep_the_budget_and_lose_no_row():
    lengths = np.random.default_rng(0).integers(1, 50, size=200).tolist()
    groups = batches(lengths, 120)
    assert sorted(i for group in groups for i in group) == list(range(200))
    assert all(len(group) * max(lengths[i] for i in group) <= 120 for group in groups)
