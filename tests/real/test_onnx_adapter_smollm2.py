"""Real weights with an adapter kept apart: verified on its base, switched in both ONNX runtimes, a fault caught."""

from __future__ import annotations

import pytest
from faults import fit_manifest, other_adapter
from realruns import QUESTIONS

from edgetune.adapters.tuned import tuned_model
from edgetune.exporting import Wanted, find_source
from edgetune.runtimes import open_runtime, open_with_adapters
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.runtimes.pairing import on_base
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import open_torch
from edgetune.verification.record import Depth
from edgetune.verification.verify import Verifier

DECODING = Decoding(max_new_tokens=16)


@pytest.fixture(scope="module")
def pair(run):
    return [
        part.write() for part in find_source(str(run.folder)).parts(Wanted("onnx", separate=True, with_base="fp32"))
    ]


def test_both_runtimes_answer_as_torch_does_with_and_without(run, pair):
    base, adapter = pair
    with_it = open_torch(run)
    asked = [with_it.tokenizer.render([{"role": "user", "content": question}]) for question in QUESTIONS]
    rows = [with_it.tokenizer.encode(text) for text in asked]
    expected = with_it.generate(rows, DECODING)
    plain = OnnxRuntime(base)
    plain.add_adapter("it", adapter)
    for runtime in (open_with_adapters(base, {"it": adapter}), plain):
        runtime.use_adapter(None)
        without = runtime.generate(rows, DECODING)
        runtime.use_adapter("it")
        assert runtime.generate(rows, DECODING) == expected != without
        runtime.close()


def test_verified_and_a_weak_adapter_caught(run, pair):
    base, adapter = pair
    verifier = Verifier(run, depth=Depth(rows=6, answers=6))
    found = verifier.verify(on_base(adapter, base))
    assert found.failed == ()
    data = tuned_model(run)

    def weaken(settings, tensors):
        settings["lora_alpha"] /= 8**0.5

    bad = other_adapter(data, run.folder.parent / "weak", weaken)
    from dataclasses import replace

    from edgetune_onnx.adapter import export

    weak = export(replace(data, adapter_folder=bad), "fp32", run.folder.parent / "weak-adapter")
    (check,) = [check for check in verifier.verify(on_base(fit_manifest(weak), base)).failed if check.name == "weights"]
    assert "another scale" in check.cause
    assert open_runtime(on_base(adapter, base)).system is None
