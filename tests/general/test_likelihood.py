"""Log-likelihoods: packed equals one after another, in torch equals llama.cpp, and a case by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.evaluation.evaluate import Subject
from edgetune.evaluation.loss import torch_losses
from edgetune.general import likelihood
from edgetune.general.likelihood import likelihoods, packed
from edgetune.general.trees import Tree, grow, paths
from edgetune.runtimes import open_runtime
from edgetune.runtimes.fake import VOCABULARY, FakeRuntime
from edgetune.runtimes.torch_runtime import TorchRuntime


def trees(count=9, seed=0):
    """Random trees of two to four branches, some of one token."""
    random = np.random.default_rng(seed)

    def ids(longest):
        return tuple(int(token) for token in random.integers(3, 250, size=random.integers(1, longest + 1)))

    return [Tree(ids(12), tuple(ids(6) for _ in range(random.integers(2, 5)))) for _ in range(count)]


def apart(model, tree):
    return [-nats for nats, _ in torch_losses(model, list(paths(tree)))]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_equals_one_row_after_another(attention):
    model = tiny_model("llama")
    model.set_attn_implementation(attention)
    some = trees()
    for found, tree in zip(packed(model, some), some, strict=True):
        assert found == pytest.approx(apart(model, tree), abs=1e-4)


def test_a_model_is_packed_in_small_packs_and_left_as_it_was(monkeypatch):
    monkeypatch.setattr(likelihood, "PACK", 40)
    packs = []
    monkeypatch.setattr(likelihood, "packed", lambda model, pack: packs.append(len(pack)) or packed(model, pack))
    model = tiny_model("llama").train()
    done = []
    some = trees()
    found = likelihoods(Subject("x", TorchRuntime(model, tiny_tokenizer())), some, done.append)
    assert len(packs) > 1
    assert sum(packs) == len(some) == done[-1]
    assert model.training
    model.eval()
    assert [value for one in found for value in one] == pytest.approx(
        [value for tree in some for value in apart(model, tree)], abs=1e-4
    )


def test_a_window_shorter_than_a_question_is_not_packed(monkeypatch):
    monkeypatch.setattr(likelihood, "packed", lambda *_: pytest.fail("packed"))
    model = tiny_model("gemma3")
    some = trees(3)
    found = likelihoods(Subject("x", TorchRuntime(model, tiny_tokenizer())), some, lambda done: None)
    for values, tree in zip(found, some, strict=True):
        logits = [model(torch.tensor([path.input_ids])).logits[0].log_softmax(-1) for path in paths(tree)]
        by_hand = [
            sum(one[len(tree.context) - 1 + at, token].item() for at, token in enumerate(branch))
            for one, branch in zip(logits, tree.branches, strict=True)
        ]
        assert values == pytest.approx(by_hand, abs=1e-3)


def test_by_hand_in_any_runtime():
    """The fake favours what comes next by a known logit, so every token has one known probability."""
    runtime = FakeRuntime({}, confidence=2.0)
    tree = grow("x", "Question: a?\nAnswer:", [" yes", " no"], runtime.tokenizer)
    ((yes, no),) = likelihoods(Subject("x", runtime), [tree], lambda done: None)
    one = 2.0 - math.log(math.exp(2.0) + VOCABULARY - 1)
    # The last token of a branch is never given to the model, so the fake cannot favour it.
    last = -math.log(math.exp(2.0) + VOCABULARY - 1)
    assert yes == pytest.approx(3 * one + last, abs=1e-4)
    assert no == pytest.approx(2 * one + last, abs=1e-4)


def test_torch_and_llama_cpp_agree(tmp_path):
    from tinyruns import write_artifact

    from edgetune.models.gguf_base import dequantised
    from edgetune.models.loading import load_model

    artifact = write_artifact(tmp_path / "artifact")
    model = load_model(dequantised(artifact.main_file, tmp_path / "cache").folder, dtype="float32")
    runtime = open_runtime(artifact, kv_cache="f32")
    in_torch = TorchRuntime(model, tiny_tokenizer())
    # The tiny file says that texts begin with BOS, the tiny tokenizer does not: each is obeyed.
    assert (runtime.tokenizer.beginning, in_torch.tokenizer.beginning) == ((1,), ())
    tokenizer = in_torch.tokenizer
    some = [grow("x", "say 1", [" 1!", " 22!"], tokenizer), grow("x", "A dog ", ["barks", "is a bird"], tokenizer)]
    theirs = likelihoods(Subject("gguf", runtime), some, lambda done: None)
    runtime.close()
    ours = likelihoods(Subject("torch", in_torch), some, lambda done: None)
    for one, other in zip(theirs, ours, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
