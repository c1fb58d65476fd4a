"""Each runtime's own loop computes what it should, can be cut back, and leaves the runtime as it was."""

from __future__ import annotations

import shutil

import pytest
from edgetune_onnx import OnnxExporter
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.artifact import Artifact, read_artifact
from edgetune.assistant import Assistant
from edgetune.bench.looping import at_depths, room_after, through_the_loop
from edgetune.errors import ArtifactError
from edgetune.exporters import TunedModel
from edgetune.runtimes.llama_cpp import LlamaCppRuntime
from edgetune.runtimes.onnx_genai import GenaiRuntime
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.runtimes.protocol import Decoding, LoopsRaw, TellsMemory
from edgetune.runtimes.torch_runtime import open_torch

KINDS = ["llama.cpp", "onnxruntime", "onnxruntime-genai", "torch"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    tiny_model("llama", head_dim=16).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    model = TunedModel("tiny", folder / "base", None, None, (), folder / "base", "tiny", "0" * 64, system=None)
    return folder / "base", OnnxExporter().export(model, "fp32", folder / "export")


@pytest.fixture(params=KINDS)
def runtime(request, made, tiny_gguf):
    opened = {
        "llama.cpp": lambda: LlamaCppRuntime(Artifact(tiny_gguf, None), threads=1),
        "onnxruntime": lambda: OnnxRuntime(made[1], threads=1),
        "onnxruntime-genai": lambda: GenaiRuntime(made[1], threads=1),
        "torch": lambda: open_torch(made[0]),
    }[request.param]()
    yield opened
    opened.close()


def test_the_loop_leaves_answers_as_they_were(runtime):
    prompt = runtime.tokenizer.encode("hello hello")
    before = list(runtime.stream(prompt, Decoding(max_new_tokens=6)))
    assert isinstance(runtime, LoopsRaw)
    loop = runtime.raw_loop(64)
    loop.extend(prompt)
    for token in before:
        loop.step(token)
    assert loop.hold(len(prompt))
    loop.extend(prompt)
    loop.step(before[0])
    assert loop.hold(0)
    loop.extend(prompt[:1])
    runtime.reset()
    assert list(runtime.stream(prompt, Decoding(max_new_tokens=6))) == before


def test_rates_at_depths_up_to_the_last_token_that_fits(runtime, monkeypatch):
    """Depths deeper and shallower than the last one, with the least context that holds them."""
    job = {"prompts": [[{"role": "user", "content": "hello hello"}]], "depth_prefill": 16, "depth_decode": 12}
    depths = (0, 24, 8)
    monkeypatch.setattr(type(runtime), "context_length", 24 + room_after(16, 12), raising=False)
    runtime.__dict__.pop("context_length", None)
    with Assistant(runtime) as assistant:
        found = list(at_depths(assistant, job, (*depths, 25)))
    assert [one["depth"] for one in found] == list(depths)
    assert all(one["prefill_s"] > 0 and len(one["step_s"]) == 12 for one in found)


def test_the_same_answer_through_the_loop_with_no_room_to_spare(runtime):
    prompt = runtime.tokenizer.encode("hello hello")
    assert isinstance(runtime, LoopsRaw)
    found = through_the_loop(runtime, prompt, prompt * 2)
    assert len(found["step_s"]) == 2 * len(prompt) - 1


def test_a_second_loop_of_genai_has_the_warm_cache_of_the_first(made, monkeypatch):
    monkeypatch.setattr("edgetune.runtimes.onnx_genai.SMALLEST_CACHE", 16)
    sizes = []
    honest = GenaiRuntime._make
    monkeypatch.setattr(GenaiRuntime, "_make", lambda *args, **more: (sizes.append(args[1]), honest(*args, **more))[1])
    runtime = GenaiRuntime(made[1], threads=1)
    prompt = runtime.tokenizer.encode("hello hello")
    found = [through_the_loop(runtime, prompt, prompt * times) for times in (2, 1, 2)]
    assert len(sizes) == 1
    assert [len(one["step_s"]) for one in found] == [2 * len(prompt) - 1, len(prompt) - 1, 2 * len(prompt) - 1]
    runtime.raw_loop(sizes[0])
    assert sizes[1] > sizes[0], "one token is chosen after those that are computed"
    runtime.close()


def test_memory_is_told_or_a_reason_given(runtime):
    list(runtime.stream(runtime.tokenizer.encode("hello"), Decoding(max_new_tokens=2)))
    assert isinstance(runtime, TellsMemory)
    parts = runtime.memory_parts()
    assert parts.weights > 1000
    for name in ("kv", "compute"):
        value = getattr(parts, name)
        assert (value is not None and value > 0) or parts.reasons[name]


@pytest.mark.parametrize("kind", [OnnxRuntime, GenaiRuntime])
def test_the_cache_of_a_raw_loop_is_counted(made, kind):
    runtime = kind(made[1], threads=1)
    assert runtime.memory_parts().kv == 0
    runtime.raw_loop(40).extend(runtime.tokenizer.encode("hello hello"))
    assert runtime.memory_parts().kv > 0
    runtime.close()


def test_weights_in_a_file_beside_the_graph_are_counted(made, tmp_path):
    folder = shutil.copytree(made[1].path, tmp_path / "copy")
    plain = OnnxRuntime(made[1], threads=1)
    (graph,) = folder.rglob("*.onnx")
    (graph.parent / f"{graph.name}_data").write_bytes(b"x" * 1000)
    apart = OnnxRuntime(read_artifact(folder), threads=1)
    assert apart.memory_parts().weights == plain.memory_parts().weights + 1000


def test_the_cache_of_an_onnx_graph_is_its_own(made):
    for kind in (OnnxRuntime, GenaiRuntime):
        with pytest.raises(ArtifactError, match="no key-value cache of q8_0"):
            kind(made[1], kv_cache="q8_0")


def test_llama_cpp_takes_threads_apart_and_another_batch(tiny_gguf):
    runtime = LlamaCppRuntime(Artifact(tiny_gguf, None), threads=1, prefill_threads=2, batch=8, context=128)
    prompt = runtime.tokenizer.encode("hello " * 6)
    plain = LlamaCppRuntime(Artifact(tiny_gguf, None), threads=1)
    decoding = Decoding(max_new_tokens=4)
    assert list(runtime.stream(prompt, decoding)) == list(plain.stream(prompt, decoding))
    assert (runtime.prefill_threads, runtime.batch, plain.prefill_threads) == (2, 8, 1)
    runtime.close()
    plain.close()
