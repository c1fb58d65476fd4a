"""torch and llama.cpp give the same answers for the same weights, sliding windows and LongRoPE included."""

import pytest
from edgetune_gguf import GgufExporter
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.exporters import TunedModel
from edgetune.runtimes import llama_batching, open_runtime, torch_runtime
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import open_torch

#: The system prompt alone is longer than gemma3's window of 4 tokens.
SYSTEM = {"role": "system", "content": "You control a house."}


@pytest.fixture(params=["llama", "gemma3", "phi3-longrope"])
def pair(request, tmp_path):
    """The same random weights in both runtimes."""
    tiny_model(request.param).save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    model = TunedModel("tiny", tmp_path / "base", None, None, (), tmp_path / "base", "tiny", "0" * 64)
    artifact = GgufExporter().export(model, "f32", tmp_path / "export")
    reference, exported = open_torch(tmp_path / "base"), open_runtime(artifact, threads=1, kv_cache="f32")
    yield reference, exported
    exported.close()


def test_same_answers_batched_and_single(pair, monkeypatch):
    monkeypatch.setattr(llama_batching, "DEFAULT_SLOTS", 3)
    monkeypatch.setattr(torch_runtime, "BATCH_ROWS", 3)
    reference, exported = pair
    texts = ["hello " * (index % 4) + str(index) for index in range(7)]
    rendered = [reference.tokenizer.render([SYSTEM, {"role": "user", "content": text}]) for text in texts]
    rows = [reference.tokenizer.encode(text) for text in rendered]
    assert [exported.tokenizer.encode(text) for text in rendered] == rows
    decoding = Decoding(max_new_tokens=16)
    expected = reference.generate(rows, decoding)
    assert len({answer.tokens for answer in expected}) > 3
    assert exported.generate(rows, decoding) == expected
    for row, answer in zip(
        rows, expected, strict=True
    ):  # what one stream leaves in the cache must not disturb the next
        assert tuple(exported.stream(row, decoding)) == tuple(reference.stream(row, decoding)) == answer.tokens
