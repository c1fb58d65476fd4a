"""What of a classifier is traced, and the rows that calibrate it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from classifierruns import artifact, exported
from edgetune_onnx.tracing import calibration_batches
from rowfiles import write_rows
from tinyclassifier import rows, tokenizer, write_base, write_recipe

from edgetune.verification.choosing import verifier_of


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_rows_that_calibrate_may_hold_any_separator_of_lines(tmp_path, separator):
    tokenizer().save_pretrained(tmp_path)
    write_rows(tmp_path / "train.jsonl", [{"text": f"good{separator}film {n}", "label": "positive"} for n in range(3)])
    assert separator in (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    model = SimpleNamespace(task="text-classification", tokenizer_folder=tmp_path, max_tokens=32)
    assert len(list(calibration_batches(model, tmp_path / "train.jsonl"))) == 3


def test_a_classifier_of_very_short_texts_is_exported(tmp_path):
    recipe = write_recipe(tmp_path / "r", write_base(tmp_path / "bert"), data={"max_tokens": 4, "too_long": "truncate"})
    run = exported(recipe, tmp_path / "run", ("fp32",))
    found = verifier_of(run).verify(artifact(run, "fp32"))
    assert found.passed, found.failed
    assert artifact(run, "fp32").manifest.context_length == 4
    assert len(rows(1)[0]["text"].split()) > 2, "texts are cut"
