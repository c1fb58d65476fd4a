"""The bank-support recipe, a few steps of it: long answers, none equal to its reference, exported and verified."""

from __future__ import annotations

import pytest
from faults import export_with, older, other_adapter, rewrite
from tinyexports import TEMPLATE

from edgetune.adapters.tuned import tuned_model
from edgetune.evaluation.compare import compare
from edgetune.evaluation.subjects import evaluate_run
from edgetune.exporting import export
from edgetune.recipe import resolve
from edgetune.recipes import shipped_recipe
from edgetune.training import train
from edgetune.verification.record import Depth
from edgetune.verification.verify import Verifier

ANSWERS = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {
        "train.max_steps": 16,
        "train.evaluate_every": 16,
        "train.evaluate_rows": 4,
        "train.device": "cpu",
        "task.max_new_tokens": 24,
        "data.heldout_limit": ANSWERS,
    }
    resolved = resolve(shipped_recipe("bank-support").file, {key: (value, "flag") for key, value in changes.items()})
    return train(resolved, tmp_path_factory.mktemp("bank") / "run")


@pytest.fixture(scope="module")
def verifier(run):
    return Verifier(run, depth=Depth(rows=4, answers=ANSWERS))


def checks(verification):
    return {check.name: check for check in verification.checks}


def test_it_answers_more_like_the_bank_than_the_base_does(run):
    base, tuned = evaluate_run(run, "base"), evaluate_run(run, "tuned")
    assert compare(base, tuned).difference("loss").high < 0, "on the same articles, beyond chance"
    assert tuned.score("rouge_l").value > base.score("rouge_l").value
    assert tuned.score("exact_match").value == 0


def test_a_sound_export_passes_and_is_judged_by_likeness(verifier, run):
    # Not eight bits: after sixteen steps twelve answers gain so little that one that goes another way is half of it.
    found = verifier.verify(export(run, "gguf", "f16"))
    assert found.passed, found.failed
    assert "rouge_l" in checks(found)["task"].text


def test_an_older_adapter_fails(verifier, run, tmp_path):
    artifact = export(run, "gguf", "q8_0", tmp_path)
    stale = other_adapter(tuned_model(run), tmp_path / "older", older)
    found = checks(verifier.verify(export_with(tuned_model(run), "q8_0", artifact, adapter_folder=stale)))
    assert found["weights"].passed is False
    assert "adapter" in found["weights"].cause


def test_another_template_fails(verifier, run, tmp_path):
    other = TEMPLATE.replace("assistant", "model")
    artifact = rewrite(export(run, "gguf", "q8_0", tmp_path), {"tokenizer.chat_template": other})
    found = checks(verifier.verify(artifact))
    assert found["prompts"].passed is False
    assert found["task"].passed is None, "an artifact that is asked otherwise is not compared"
