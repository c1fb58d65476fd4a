"""Real weights through both ONNX runtimes: verified, the same tokens as torch, faults on them caught."""

from __future__ import annotations

import pytest
from faults import export_with, other_adapter
from realruns import QUESTIONS

from edgetune.adapters.tuned import tuned_model
from edgetune.exporting import export
from edgetune.runtimes import open_runtime
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import open_torch

DECODING = Decoding(max_new_tokens=16)


@pytest.fixture(scope="module")
def int8(run, tmp_path_factory):
    return export(run, "onnx", "int8", tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_good_artifacts(run, verifier, tmp_path, precision):
    verification = verifier.verify(export(run, "onnx", precision, tmp_path))
    assert verification.failed == ()
    assert verification.passed


def test_one_table_makes_eight_bits_small(int8):
    """135 M weights in 8 bits with a scale of 32 bits for each 32 of them, the tokenizer and little else."""
    assert int8.manifest.size_bytes < 160e6


def test_both_runtimes_answer_as_torch_does(run, tmp_path):
    artifact = export(run, "onnx", "fp32", tmp_path)
    reference = open_torch(run)
    asked = [reference.tokenizer.render([{"role": "user", "content": question}]) for question in QUESTIONS]
    rows = [reference.tokenizer.encode(text) for text in asked]
    expected = reference.generate(rows, DECODING)
    for runtime in (open_runtime(artifact), OnnxRuntime(artifact)):
        assert [runtime.tokenizer.encode(text) for text in asked] == rows
        assert runtime.generate(rows, DECODING) == expected
        runtime.close()


def test_the_wrong_base_and_a_silent_layer_fail(run, verifier, int8, tmp_path):
    planted = export_with(tuned_model(run), "int8", int8, trained_against="base", quantised_modules=())
    (check,) = [check for check in verifier.verify(planted).failed if check.name == "weights"]
    assert "merged into the 16-bit base" in check.cause

    def silence(settings, tensors):
        for name in tensors:
            if ".layers.17.mlp" in name and "lora_B" in name:
                tensors[name] = 0 * tensors[name]

    bad = other_adapter(tuned_model(run), tmp_path / "bad", silence)
    found = verifier.verify(export_with(tuned_model(run), "int8", planted, adapter_folder=bad))
    (check,) = [check for check in found.failed if check.name == "weights"]
    assert "left out" in check.cause
    lost = [problem for problem in check.problems if "of its fine-tune" in problem]
    assert len(lost) == 3
    assert all(problem.startswith("model.layers.17.mlp") for problem in lost)
