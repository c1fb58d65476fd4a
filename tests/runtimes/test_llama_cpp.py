"""The llama.cpp runtime on a tiny random F32 model: batched answers must equal single ones."""

import dataclasses

import numpy as np
import pytest

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError, DataError, MissingExtra
from edgetune.runtimes import llama_batching, llama_library, open_runtime
from edgetune.runtimes.llama_cpp import LlamaCppRuntime
from edgetune.runtimes.protocol import Decoding


@pytest.fixture
def runtime(tiny_gguf):
    opened = open_runtime(tiny_gguf, threads=1, kv_cache="f32")
    yield opened
    opened.close()


def prompts(runtime, count):
    """Conversations of mixed lengths with one system prompt."""
    system = {"role": "system", "content": "You control a house. Answer in JSON."}
    texts = ["hello " * (index % 5 + 1) + str(index) for index in range(count)]
    rendered = [runtime.tokenizer.render([system, {"role": "user", "content": text}]) for text in texts]
    return [runtime.tokenizer.encode(text) for text in rendered]


def singles(runtime, rows, decoding):
    answers = []
    for row in rows:
        runtime.reset()
        answers.append(tuple(runtime.stream(row, decoding)))
    return answers


def test_batched_answers_equal_single_ones(runtime, monkeypatch):
    monkeypatch.setattr(llama_batching, "DEFAULT_SLOTS", 4)  # fewer slots than prompts: slots are used again
    rows = prompts(runtime, 11)
    decoding = Decoding(max_new_tokens=24)
    counts = []
    batched = runtime.generate(rows, decoding, counts.append)
    assert [completion.tokens for completion in batched] == singles(runtime, rows, decoding)
    assert len({completion.tokens for completion in batched}) > 5  # the answers differ, so order is really kept
    assert counts == list(range(1, 12))
    assert {completion.finish for completion in batched} == {"length"}


def test_stop_ids_end_answers_at_different_times(runtime):
    rows = prompts(runtime, 9)
    free = runtime.generate(rows, Decoding(max_new_tokens=24))
    stop = free[0].tokens[5]
    decoding = Decoding(max_new_tokens=24, extra_stop_ids=(stop,))
    stopped = runtime.generate(rows, decoding)
    assert [completion.tokens for completion in stopped] == singles(runtime, rows, decoding)
    for before, after in zip(free, stopped, strict=True):
        cut = before.tokens.index(stop) if stop in before.tokens else None
        assert after.tokens == before.tokens[:cut]
        assert after.finish == ("length" if cut is None else "stop")


@pytest.mark.parametrize("seed", [0, 5])
def test_sampled_answers_do_not_depend_on_the_batch(runtime, seed):
    rows = prompts(runtime, 6)
    decoding = Decoding(max_new_tokens=12, temperature=0.9, top_p=0.9, seed=seed)
    first = runtime.generate(rows, decoding)
    assert first == runtime.generate(rows, decoding)
    assert first[0].tokens == tuple(runtime.stream(rows[0], decoding))
    assert first != runtime.generate(rows, dataclasses.replace(decoding, seed=seed + 1))


def test_prompts_without_common_beginning_and_a_prompt_that_begins_another(runtime):
    rows = [[5, 6, 7, 8], [5, 6], [5, 6, 7], [9, 4, 4]]
    decoding = Decoding(max_new_tokens=10)
    for subset in (rows, rows[:3], rows[:1], [rows[0], rows[0]]):
        answers = [completion.tokens for completion in runtime.generate(subset, decoding)]
        assert answers == singles(runtime, subset, decoding)


def test_shared_beginning_is_computed_once(runtime, monkeypatch):
    rows = prompts(runtime, 8)
    computed = 0
    original = llama_batching.Context.decode

    def counting(self, batch):
        nonlocal computed
        computed += batch.count
        return original(self, batch)

    monkeypatch.setattr(llama_batching.Context, "decode", counting)
    runtime.generate(rows, Decoding(max_new_tokens=1))
    prefix = llama_batching.common_prefix(rows)
    assert prefix > 30
    assert computed == prefix + sum(len(row) - prefix for row in rows)


def test_logits_agree_with_a_forward_pass_in_numpy(runtime, tiny_gguf):
    tokens = prompts(runtime, 1)[0]
    expected = numpy_llama(tiny_gguf, tokens)
    found = runtime.logits(tokens)
    assert found.dtype == np.float32
    assert found.shape == (len(tokens), 261)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_logits_do_not_depend_on_what_was_computed_before(runtime):
    rows = prompts(runtime, 2)
    first = runtime.logits(rows[0])
    list(runtime.stream(rows[1], Decoding(max_new_tokens=5)))
    np.testing.assert_array_equal(first, runtime.logits(rows[0]))


@pytest.mark.parametrize("start", [1, 20, 39])
def test_logits_from_a_start_on_are_the_same_and_reuse_the_beginning(runtime, start, monkeypatch):
    tokens = prompts(runtime, 1)[0][:40]
    whole = runtime.logits(tokens)
    first = runtime.logits([*tokens[:-1], 9], start)
    np.testing.assert_allclose(first[:-1], whole[start:-1], atol=1e-5)
    assert abs(first[-1] - whole[-1]).max() > 1e-3
    computed = []
    original = llama_batching.Context.decode
    monkeypatch.setattr(
        llama_batching.Context, "decode", lambda self, batch: (computed.append(batch.count), original(self, batch))[1]
    )
    np.testing.assert_allclose(runtime.logits(tokens, start), whole[start:], atol=1e-5)
    assert sum(computed) == len(tokens) - start


def test_a_conversation_reuses_its_past_and_answers_the_same(runtime, monkeypatch):
    turn = prompts(runtime, 1)[0]
    answer = list(runtime.stream(turn, Decoding(max_new_tokens=8)))
    longer = [*turn, *answer, 2, 1, 50, 60]
    expected = list(runtime.stream(longer, Decoding(max_new_tokens=8)))
    computed = []
    original = llama_batching.Context.decode
    monkeypatch.setattr(
        llama_batching.Context, "decode", lambda self, batch: (computed.append(batch.count), original(self, batch))[1]
    )
    runtime.reset()
    list(runtime.stream(turn, Decoding(max_new_tokens=8)))
    computed.clear()
    assert list(runtime.stream(longer, Decoding(max_new_tokens=8))) == expected
    assert computed[0] < len(longer) - len(turn) + 1


def test_two_streams_at_once_do_not_disturb_each_other(runtime):
    rows = prompts(runtime, 2)
    decoding = Decoding(max_new_tokens=6)
    expected = singles(runtime, rows, decoding)
    streams = [runtime.stream(row, decoding) for row in rows]
    together = list(zip(*streams, strict=True))
    assert [tuple(step[which] for step in together) for which in (0, 1)] == expected


def test_an_interrupted_step_leaves_no_trace(runtime, monkeypatch):
    row = prompts(runtime, 1)[0]
    expected = tuple(runtime.stream(row, Decoding(max_new_tokens=8)))
    original = llama_batching.Context.decode

    def interrupted(self, batch):
        original(self, batch)
        raise KeyboardInterrupt  # as Python does when Ctrl-C came while llama.cpp computed

    stream = runtime.stream(row, Decoding(max_new_tokens=8))
    next(stream)
    monkeypatch.setattr(llama_batching.Context, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    monkeypatch.undo()
    assert tuple(runtime.stream(row, Decoding(max_new_tokens=8))) == expected


def test_a_prompt_too_long_names_both_lengths(tiny_gguf):
    runtime = open_runtime(tiny_gguf, threads=1, context=32)
    for call in (lambda: runtime.generate([[5] * 40], Decoding()), lambda: next(runtime.stream([5] * 32, Decoding()))):
        with pytest.raises(DataError, match=r"a prompt of (40|32) tokens does not fit a context of 32 tokens"):
            call()
    with pytest.raises(DataError, match="33 tokens"):
        runtime.logits([5] * 33)
    assert runtime.logits([5] * 32).shape[0] == 32
    with pytest.raises(DataError, match="no tokens"):
        runtime.generate([[]], Decoding())
    runtime.close()


def test_an_answer_ends_where_the_context_does(tiny_gguf):
    runtime = open_runtime(tiny_gguf, threads=1, context=32)
    rows = [[5] * 30, [6] * 20]
    answers = runtime.generate(rows, Decoding(max_new_tokens=100))
    assert [len(answer.tokens) for answer in answers] == [2, 12]
    assert [tuple(runtime.stream(row, Decoding(max_new_tokens=100))) for row in rows] == [a.tokens for a in answers]
    runtime.close()


def test_defaults_come_from_the_file(runtime, tiny_gguf):
    assert runtime.context_length == 512
    assert runtime.system == "Answer briefly."
    assert runtime.name == "llama.cpp"
    assert runtime.generate([], Decoding()) == []


def test_a_model_of_unknown_architecture_is_refused_in_llama_cpps_own_words(tiny_gguf, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(
        tiny_gguf.read_bytes().replace(
            b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama",
            b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00lmaal",
        )
    )
    with pytest.raises(ArtifactError, match=r"llama\.cpp cannot load") as caught:
        LlamaCppRuntime(Artifact(broken, None))
    assert any("unknown model architecture" in problem for problem in caught.value.problems)


def test_nothing_is_written_to_stderr(tiny_gguf, capfd):
    runtime = open_runtime(tiny_gguf, threads=1)
    runtime.generate([[5, 6]], Decoding(max_new_tokens=2))
    runtime.close()
    assert capfd.readouterr() == ("", "")


def test_a_missing_extra_is_one_sentence(tiny_gguf, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match="'gguf' extra") as caught:
        open_runtime(tiny_gguf)
    assert caught.value.hint == "pip install 'edgetune[gguf]'"


def numpy_llama(path, tokens):
    """Logits of the tiny Llama in float64, written out from the paper: RMSNorm, rotary attention, SwiGLU."""
    import gguf
    from tinygguf import HEADS, KV_HEADS, LAYERS, WIDTH

    weights = {tensor.name: tensor.data.astype(np.float64) for tensor in gguf.GGUFReader(path).tensors}
    head, length = WIDTH // HEADS, len(tokens)

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[name]

    def rotate(x):  # neighbouring pairs, llama.cpp's "normal" order
        angle = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, head, 2) / head)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    x = weights["token_embd.weight"][tokens]
    hidden = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        h = norm(x, block + "attn_norm.weight")
        q, k, v = ((h @ weights[f"{block}attn_{name}.weight"].T).reshape(length, -1, head) for name in ("q", "k", "v"))
        k, v = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (rotate(k), v))
        scores = np.einsum("qhd,khd->hqk", rotate(q), k) / np.sqrt(head) + hidden
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", share, v).reshape(length, WIDTH)
        x = x + mixed @ weights[block + "attn_output.weight"].T
        h = norm(x, block + "ffn_norm.weight")
        gate = h @ weights[block + "ffn_gate.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (h @ weights[block + "ffn_up.weight"].T)
        x = x + inner @ weights[block + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ weights["token_embd.weight"].T


@pytest.mark.parametrize("amx", [True, False])
def test_buffers_that_may_crash_are_not_used(tiny_gguf, monkeypatch, amx):
    parts = []
    library = llama_library.library()
    load = library.llama_model_load_from_file

    def watched(path, parameters):
        parts.append(parameters.use_extra_bufts)
        return load(path, parameters)

    monkeypatch.setattr(library, "llama_model_load_from_file", watched)
    monkeypatch.setattr(llama_library, "system_info", lambda: "AMX_INT8 = 1 |" if amx else "REPACK = 1 |")
    open_runtime(tiny_gguf, threads=1).close()
    assert parts == [not amx]
