"""Logits from a position on are the last rows of all logits, whatever was computed before."""

from __future__ import annotations

import numpy as np
import pytest
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.runtimes import open_runtime
from edgetune.runtimes.fake import FakeRuntime
from edgetune.runtimes.llama_native import MICRO_BATCH
from edgetune.runtimes.torch_runtime import TorchRuntime


def rows(shared, count=4, length=30):
    generator = np.random.default_rng(0)
    beginning = generator.integers(3, 250, size=shared).tolist()
    return [beginning + generator.integers(3, 250, size=length - shared).tolist() for _ in range(count)]


@pytest.mark.parametrize("shared", [0, 1, 12, 29])
@pytest.mark.parametrize("start", [1, 12, 25, 29])
def test_llama_cpp(tiny_gguf, shared, start):
    runtime = open_runtime(tiny_gguf, kv_cache="f32")
    whole = [runtime.logits(row) for row in rows(shared)]
    parts = [runtime.logits(row, start) for row in rows(shared)]
    runtime.close()
    for all_logits, part in zip(whole, parts, strict=True):
        np.testing.assert_allclose(part, all_logits[start:], atol=1e-4)


def test_llama_cpp_over_several_batches(tmp_path):
    from tinygguf import write_tiny_gguf

    runtime = open_runtime(write_tiny_gguf(tmp_path / "long.gguf", context=2048), kv_cache="f32")
    (row,) = rows(0, count=1, length=2 * MICRO_BATCH + 100)
    whole = runtime.logits(row)
    for start in (10, MICRO_BATCH, MICRO_BATCH + 50, 2 * MICRO_BATCH + 90):
        np.testing.assert_allclose(runtime.logits(row, start), whole[start:], atol=1e-4)
        runtime.reset()
    runtime.close()


def test_torch_and_fake():
    row = rows(0)[0]
    for runtime in (TorchRuntime(tiny_model("llama"), tiny_tokenizer()), FakeRuntime({})):
        np.testing.assert_array_equal(runtime.logits(row, 7), runtime.logits(row)[7:])
