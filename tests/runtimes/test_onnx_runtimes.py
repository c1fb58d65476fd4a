"""Both ONNX runtimes answer as torch does, and say what is wrong with a damaged folder."""

from __future__ import annotations

import json

import pytest
from edgetune_onnx import OnnxExporter
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError, DataError, ResourceError
from edgetune.exporters import TunedModel
from edgetune.runtimes import onnx_genai
from edgetune.runtimes.onnx_genai import GenaiRuntime
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import open_torch

RUNTIMES = [GenaiRuntime, OnnxRuntime]
SYSTEM = {"role": "system", "content": "You control a house."}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder, and its fp32 artifact."""
    folder = tmp_path_factory.mktemp("onnx")
    model = tiny_model("llama", head_dim=16)
    model.lm_head.weight.data[2] *= 2  # answers end now and then
    model.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    model = TunedModel("tiny", folder / "base", None, None, (), folder / "base", "tiny", "0" * 64, system="Be brief")
    return folder / "base", OnnxExporter().export(model, "fp32", folder / "export")


@pytest.fixture(params=RUNTIMES, ids=lambda kind: kind.name)
def opened(request, made):
    runtime = request.param(made[1], threads=1)
    yield runtime
    runtime.close()


@pytest.fixture
def reference(made):
    return open_torch(made[0])


@pytest.fixture
def rows(reference):
    texts = ["hello " * (index % 4) + str(index) for index in range(9)]
    asked = [reference.tokenizer.render([SYSTEM, {"role": "user", "content": text}]) for text in texts]
    return [reference.tokenizer.encode(text) for text in asked]


def same(found, expected):
    """Tokens and endings; onnxruntime-genai leaves out what follows bytes that are not UTF-8."""
    return [(a.tokens, a.finish) for a in found] == [(a.tokens, a.finish) for a in expected]


def test_the_same_answers_batched_and_single(reference, opened, rows, monkeypatch):
    monkeypatch.setattr(onnx_genai, "BATCH_ROWS", 2)
    decoding = Decoding(max_new_tokens=24)
    expected = reference.generate(rows, decoding)
    assert len({answer.finish for answer in expected}) == 2, "some stop, some do not"
    assert len({len(answer.tokens) for answer in expected}) > 2
    told = []
    assert same(opened.generate(rows, decoding, told.append), expected)
    assert told == list(range(1, len(rows) + 1))
    for row, answer in zip(rows, expected, strict=True):
        assert tuple(opened.stream(row, decoding)) == answer.tokens


def test_the_same_random_answers(reference, opened, rows):
    decoding = Decoding(max_new_tokens=12, temperature=0.7, top_p=0.9, seed=3)
    assert same(opened.generate(rows[:4], decoding), reference.generate(rows[:4], decoding))


def test_further_stop_tokens_end_an_answer(reference, opened, rows):
    plain = reference.generate(rows[:1], Decoding(max_new_tokens=8))[0]
    decoding = Decoding(max_new_tokens=8, extra_stop_ids=(plain.tokens[3],))
    (found,) = opened.generate(rows[:1], decoding)
    assert same([found], reference.generate(rows[:1], decoding))
    assert found.finish == "stop"
    assert tuple(opened.stream(rows[0], decoding)) == found.tokens


def test_a_conversation_goes_on(reference, opened, rows):
    decoding = Decoding(max_new_tokens=8)
    first = list(opened.stream(rows[0], decoding))
    longer = [*rows[0], *first, *rows[1]]
    assert list(opened.stream(longer, decoding)) == list(reference.stream(longer, decoding))
    assert list(opened.stream(rows[0], decoding)) == first


def test_an_answer_that_is_broken_off_leaves_nothing_behind(reference, opened, rows):
    """A token that was chosen and not computed is not part of what comes next."""
    short, long = Decoding(max_new_tokens=3), Decoding(max_new_tokens=12)
    drawn = Decoding(max_new_tokens=12, temperature=1.0, seed=4)
    for first, then in zip(rows, [*rows[1:], rows[0]], strict=True):
        begun = opened.stream(first, long)
        next(begun, None)
        next(begun, None)
        begun.close()
        expected = reference.generate([then], long)[0].tokens
        assert tuple(opened.stream(then, long)) == expected
        assert tuple(opened.stream(then, short)) == expected[:3]
        assert tuple(opened.stream(then, drawn)) == reference.generate([then], drawn)[0].tokens
        assert opened.logits(then)[-1].argmax() == reference.logits(then)[-1].argmax()
        next(opened.stream(first, long), None)
        longer = [*first, *then]
        assert tuple(opened.stream(longer, long)) == reference.generate([longer], long)[0].tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_two_answers_side_by_side_do_not_mix(reference, opened, rows, temperature):
    decoding = Decoding(max_new_tokens=8, temperature=temperature, seed=2)
    asked = [row for row in rows if len(reference.generate([row], decoding)[0].tokens) >= 4][:2]
    assert len(asked) == 2
    expected = [reference.generate([row], decoding)[0].tokens for row in asked]
    streams = [opened.stream(row, decoding) for row in asked]
    found = [[next(stream) for _ in range(2)] for stream in streams]
    opened.logits(rows[-1])
    found[0].append(next(streams[0]))
    opened.reset()
    for one, stream in zip(found, streams, strict=True):
        one.extend(stream)
    assert [tuple(one) for one in found] == expected


def test_the_tokenizer(reference, opened):
    text = "<|im_start|>user\nhello, thé\n"
    assert opened.tokenizer.encode(text) == reference.tokenizer.encode(text)
    ids = opened.tokenizer.encode("hello there")
    assert opened.tokenizer.decode([1, *ids, 2]) == "hello there"
    assert opened.tokenizer.decode([]) == ""
    assert opened.tokenizer.stop_ids == reference.tokenizer.stop_ids
    messages = [SYSTEM, {"role": "user", "content": "hi"}]
    assert opened.tokenizer.render(messages) == reference.tokenizer.render(messages)
    assert opened.system == "Be brief"


def test_what_does_not_fit_the_context_is_refused(made, rows):
    for kind in RUNTIMES:
        runtime = kind(made[1], threads=1, context=16)
        for call in (runtime.logits, lambda tokens, r=runtime: list(r.stream(tokens, Decoding()))):
            with pytest.raises(DataError, match="does not fit a context of 16 tokens"):
                call(list(range(17)))


def spoil_graph(folder):
    (folder / "onnx/model.onnx").write_bytes(b"no graph")


def cut_graph(folder):
    data = (folder / "onnx/model.onnx").read_bytes()
    (folder / "onnx/model.onnx").write_bytes(data[: len(data) // 2])


def drop_graph(folder):
    (folder / "onnx/model.onnx").unlink()


def too_little(*_args, **_options):
    raise RuntimeError("Failed to allocate memory for requested buffer of size 9")


@pytest.mark.parametrize(
    ("kind", "opens"), [(GenaiRuntime, "onnxruntime_genai.Model"), (OnnxRuntime, "onnxruntime.InferenceSession")]
)
def test_too_little_memory_is_not_a_damaged_artifact(made, monkeypatch, kind, opens):
    monkeypatch.setattr(opens, too_little)
    with pytest.raises(ResourceError, match="not enough memory: Failed to allocate"):
        kind(made[1], threads=1)


def drop_genai(folder):
    (folder / "genai_config.json").unlink()


def spoil_genai(folder):
    (folder / "genai_config.json").write_text("{")


def empty_genai(folder):
    (folder / "genai_config.json").write_text('{"model": {}}')


def spoil_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize("kind", RUNTIMES, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "spoil", [spoil_graph, cut_graph, drop_graph, drop_genai, spoil_genai, empty_genai, spoil_tokenizer]
)
def test_a_damaged_folder_is_one_message(made, tmp_path, kind, spoil):
    import shutil

    folder = shutil.copytree(made[1].path, tmp_path / "copy")
    spoil(folder)
    with pytest.raises(ArtifactError) as caught:
        kind(Artifact(folder, made[1].manifest), threads=1)
    assert str(folder) in caught.value.message
    assert caught.value.hint


def test_a_folder_without_template_says_so(made, tmp_path):
    import shutil

    folder = shutil.copytree(made[1].path, tmp_path / "copy")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ArtifactError, match="has no chat template"):
        OnnxRuntime(Artifact(folder, made[1].manifest), threads=1).tokenizer.render([SYSTEM])
