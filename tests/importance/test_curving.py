"""Curvature against what it predicts: the divergence that errors in a weight really make."""

from __future__ import annotations

import pytest
import tinyexports
import torch

from edgetune.data.encoding import IGNORE, Encoded
from edgetune.errors import DataError
from edgetune.importance.collecting import collect
from edgetune.importance.curving import LONGEST, curvature

IDS = [[(7 * row + 3 * at) % 60 + 1 for at in range(24)] for row in range(24)]
ANSWERED = range(8, 23)
ROWS = [Encoded(tuple(ids), (IGNORE,) * 9 + tuple(ids[9:])) for ids in IDS]


@pytest.fixture
def model(tmp_path):
    found = tinyexports.save_model(tmp_path, "Llama", tie_word_embeddings=True).eval()
    with torch.no_grad():
        for name, weight in found.named_parameters():
            if "proj" in name:
                weight.mul_(3)  # layers that matter, and not all alike
    return found


def log_probabilities(model):
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([ids])).logits[0, ANSWERED].double().log_softmax(-1) for ids in IDS])


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.down_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.mlp.up_proj"]
)
def test_it_predicts_the_divergence_of_random_errors(model, name):
    found = curvature(model, ROWS, 1)
    squares = collect(model, IDS, ()).squares[name] / sum(map(len, IDS))
    before, weight = log_probabilities(model), model.get_submodule(name).weight
    measured, predicted = [], []
    for seed in range(8):
        error = 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * weight.std()
        with torch.no_grad():
            weight.add_(error)
            measured.append(float((before.exp() * (before - log_probabilities(model))).sum(-1).mean()))
            weight.sub_(error)
        predicted.append(float(found[name] / 2 * (error.square() * torch.from_numpy(squares)).sum()))
    assert sum(measured) / sum(predicted) == pytest.approx(1, abs=0.5), "the order of types needs no more"


@pytest.mark.parametrize("family", ["Llama", "Gemma2", "Gemma3"])
def test_of_a_tied_embedding_both_uses_count(tmp_path, family):
    model = tinyexports.save_model(tmp_path, family, tie_word_embeddings=True).eval()
    curved = curvature(model, ROWS, 1)
    found = curved["model.embed_tokens"] + curved["lm_head"]
    before, weight = log_probabilities(model), model.get_input_embeddings().weight
    ratio = 0.0
    for seed in range(8):
        error = 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * weight.std()
        with torch.no_grad():
            weight.add_(error)
            after = log_probabilities(model)
            weight.sub_(error)
        ratio += float((before.exp() * (before - after)).sum(-1).mean() / (found / 2 * error.square().sum())) / 8
    assert ratio == pytest.approx(1, abs=0.5)


def test_every_layer_has_one_and_nothing_stays_behind(model):
    wanted = [weight.requires_grad for weight in model.parameters()]
    found = curvature(model, ROWS[:1], 1)
    layers = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}
    assert set(found) == layers | {"model.embed_tokens", "lm_head"}
    assert all(value > 0 for value in found.values())
    assert [weight.requires_grad for weight in model.parameters()] == wanted
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_untied_head_has_its_own(tmp_path):
    model = tinyexports.save_model(tmp_path, "Llama", tie_word_embeddings=False).eval()
    found = curvature(model, ROWS[:1], 1)
    assert {"model.embed_tokens", "lm_head"} < set(found)


def test_rows_without_answers_say_nothing(model):
    silent = Encoded(tuple(IDS[0]), (IGNORE,) * len(IDS[0]))
    assert curvature(model, [ROWS[0], silent], 1) == curvature(model, ROWS[:1], 1)
    with pytest.raises(DataError, match="no training row has an answer"):
        curvature(model, [silent], 1)


def test_of_long_rows_the_end_counts(model):
    ids = ROWS[0].input_ids
    before = tuple(1 + at % 50 for at in range(LONGEST))
    long = Encoded(before + ids, (IGNORE,) * LONGEST + ROWS[0].labels)
    cut = Encoded(long.input_ids[-LONGEST:], long.labels[-LONGEST:])
    assert curvature(model, [long], 1) == curvature(model, [cut], 1)
