"""With Optimum, in its own environment: its exporter through ours, and our folders in its ORTModelForCausalLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgetune_optimum import OptimumExporter
from optimumside import ask
from realruns import QUESTIONS, smollm2_run
from tinyexports import save_model, tuned

from edgetune.errors import ExportError
from edgetune.exporting import export
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Decoding
from edgetune.verification.record import Depth
from edgetune.verification.verify import Verifier

pytestmark = pytest.mark.optimum
NEW_TOKENS = 12


def in_optimum(artifact, prompts):
    """Answers of ORTModelForCausalLM, without the token that ends them."""
    job = {
        "folder": str(artifact.path),
        "graph": artifact.manifest.main_file,
        "prompts": prompts,
        "new_tokens": NEW_TOKENS,
    }
    found = ask(Path(__file__).with_name("answer.py"), job)
    stops = set(artifact.manifest.stop_ids)
    return [tuple(token for token in answer if token not in stops) for answer in found]


@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_its_exporter_gives_the_same_logits(tmp_path, family):
    model = save_model(tmp_path / "base", family, head_dim=16)
    model_facts = tuned(tmp_path / "base")
    artifact = OptimumExporter().export(model_facts, "fp32", tmp_path / "export")
    assert artifact.manifest.precision == "fp32_optimum"
    assert OptimumExporter().plan(model_facts, "fp32").size_bytes > artifact.manifest.size_bytes
    tokens = list(range(40))
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0]
    runtime = open_runtime(artifact, threads=1)
    assert runtime.name == "onnxruntime"
    assert torch.allclose(torch.tensor(runtime.logits(tokens)), expected, atol=1e-4)
    assert in_optimum(artifact, [tokens]) == [tuple(runtime.stream(tokens, Decoding(max_new_tokens=NEW_TOKENS)))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return smollm2_run(tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4_rtn"])
def test_our_folders_run_in_optimum(run, tmp_path, precision):
    artifact = export(run, "onnx", precision, tmp_path)
    runtime = open_runtime(artifact)
    asked = [runtime.tokenizer.render([{"role": "user", "content": question}]) for question in QUESTIONS]
    prompts = [runtime.tokenizer.encode(text) for text in asked]
    expected = [answer.tokens for answer in runtime.generate(prompts, Decoding(max_new_tokens=NEW_TOKENS))]
    assert in_optimum(artifact, prompts) == expected


def test_its_export_is_verified(run, tmp_path):
    found = Verifier(run, depth=Depth(rows=4, answers=4)).verify(export(run, "onnx-optimum", "fp32", tmp_path))
    assert found.passed
    assert {check.name for check in found.checks if check.passed} >= {"prompts", "distributions", "endings"}


def test_a_failure_in_the_other_environment_is_one_message(tmp_path, monkeypatch):
    from edgetune_optimum import environment

    (tmp_path / "model").mkdir()
    with pytest.raises(ExportError, match="Optimum's exporter failed"):
        environment.run_optimum(tmp_path / "model", tmp_path / "out")
