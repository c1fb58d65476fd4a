"""The torch runtime on tiny random models: batched answers equal single ones and transformers' own."""

import json

import pytest
import torch
from tinymodels import tiny_model, tiny_tokenizer

from edgetune.errors import ArtifactError, DataError, EdgetuneError, ModelError
from edgetune.models.nf4 import nf4_round_trip
from edgetune.run import RunManifest
from edgetune.runtimes import torch_runtime
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import TorchRuntime, open_torch

ROWS = [[5, 6, 7, 8], [5, 6], [5, 6, 7, 9, 9, 4], [5, 6, 30]]


@pytest.fixture(params=["llama", "gemma3"])
def runtime(request):
    return TorchRuntime(tiny_model(request.param), tiny_tokenizer())


def test_batched_answers_equal_single_ones_and_transformers(runtime, monkeypatch):
    monkeypatch.setattr(torch_runtime, "BATCH_ROWS", 3)
    decoding = Decoding(max_new_tokens=12)
    counts = []
    answers = runtime.generate(ROWS, decoding, counts.append)
    assert counts == [1, 2, 3, 4]
    for row, answer in zip(ROWS, answers, strict=True):
        assert tuple(runtime.stream(row, decoding)) == answer.tokens
        expected = runtime.model.generate(
            torch.tensor([row]), attention_mask=torch.ones(1, len(row)), max_new_tokens=12, do_sample=False,
            eos_token_id=list(runtime.tokenizer.stop_ids), pad_token_id=0,
        )  # fmt: skip
        ends = [int(token) for token in expected[0, len(row) :] if int(token) not in runtime.tokenizer.stop_ids]
        assert list(answer.tokens) == ends
    assert len({answer.tokens for answer in answers}) > 1


def test_rows_end_at_different_times(runtime):
    free = runtime.generate(ROWS, Decoding(max_new_tokens=12))
    stop = free[1].tokens[3]
    decoding = Decoding(max_new_tokens=12, extra_stop_ids=(stop,))
    for before, after in zip(free, runtime.generate(ROWS, decoding), strict=True):
        cut = before.tokens.index(stop) if stop in before.tokens else None
        assert after.tokens == before.tokens[:cut]
        assert after.finish == (before.finish if cut is None else "stop")


def test_sampling_does_not_depend_on_the_batch(runtime):
    decoding = Decoding(max_new_tokens=8, temperature=1.0, top_p=0.9, seed=3)
    first = runtime.generate(ROWS, decoding)
    assert first == runtime.generate(ROWS, decoding)
    assert first[0].tokens == tuple(runtime.stream(ROWS[0], decoding))


def test_logits_are_the_models(runtime):
    with torch.no_grad():
        expected = runtime.model(torch.tensor([ROWS[2]])).logits[0].numpy()
    found = runtime.logits(ROWS[2])
    assert found.shape == expected.shape
    assert abs(found - expected).max() < 1e-5


def test_a_model_in_training_is_put_back_into_training(runtime):
    runtime.model.train()
    runtime.generate(ROWS, Decoding(max_new_tokens=2))
    assert runtime.model.training


def test_a_prompt_too_long_names_both_lengths(runtime):
    with pytest.raises(DataError, match="200 tokens does not fit a context of 128 tokens"):
        runtime.generate([[5] * 200], Decoding())


def test_tokenizer_follows_the_protocol(runtime):
    tokenizer = runtime.tokenizer
    text = tokenizer.render([{"role": "user", "content": "hello"}])
    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(text)
    assert ids[0] == 1
    assert tokenizer.stop_ids == {2}
    assert len(tokenizer.encode("<|im_end|>", special=False)) > 1
    assert tokenizer.decode([*tokenizer.encode("hé o"), 2]) == "hé o"
    tokenizer._tokenizer.chat_template = None
    with pytest.raises(ArtifactError, match="no chat template"):
        tokenizer.render([])


def test_a_folder_opens_as_the_reference(tmp_path):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    runtime = open_torch(tmp_path)
    assert runtime.generate(ROWS, Decoding(max_new_tokens=5)) == TorchRuntime(model, tiny_tokenizer()).generate(
        ROWS, Decoding(max_new_tokens=5)
    )


@pytest.mark.parametrize("against", ["base", "nf4"])
def test_a_run_opens_with_its_adapter_on_what_it_was_trained_against(tmp_path, against):
    import peft

    base = tiny_model("llama")
    base.save_pretrained(tmp_path / "base")
    modules = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"]
    if against == "nf4":
        for name in modules:
            layer = base.get_submodule(name)
            layer.weight.data = nf4_round_trip(layer.weight.data)
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(base, config).eval()
    run = tmp_path / "run"
    tuned.save_pretrained(run / "adapter")
    tiny_tokenizer().save_pretrained(run / "tokenizer")
    _write_run(run, tmp_path / "base", against, modules if against == "nf4" else [])
    with torch.no_grad():
        expected = tuned(torch.tensor([ROWS[2]])).logits[0].numpy()
    runtime = open_torch(run)
    assert abs(runtime.logits(ROWS[2]) - expected).max() < 1e-4
    assert runtime.system == "Answer in JSON."


def _write_run(run, base, against, modules):
    (run / "recipe.yaml").write_text(json.dumps(
        {"name": "tiny", "model": {"source": str(base)}, "task": {"system": "Answer in JSON."}}
    ))  # fmt: skip
    manifest = RunManifest(
        state="trained", edgetune="0", created="2026-01-01T00:00:00Z", seed=1, base_folder=str(base),
        trained_against=against, quantised_modules=tuple(modules),
    )  # fmt: skip
    (run / "manifest.json").write_text(manifest.model_dump_json())


def test_an_untrained_run_is_refused_with_the_command_that_resumes_it(tmp_path):
    tmp_path.joinpath("adapter").mkdir()
    _write_run(tmp_path, tmp_path / "base", "base", [])
    manifest = RunManifest.model_validate_json((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_text(manifest.model_copy(update={"state": "training"}).model_dump_json())
    with pytest.raises(EdgetuneError, match="not trained yet") as caught:
        open_torch(tmp_path)
    assert "edgetune train --resume" in caught.value.hint


def test_an_adapter_of_another_model_is_refused(tmp_path):
    import peft

    base = tiny_model("llama")
    base.save_pretrained(tmp_path / "base")
    wide = tiny_model("llama", hidden_size=48)
    peft.get_peft_model(wide, peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)).save_pretrained(
        tmp_path / "run/adapter"
    )
    tiny_tokenizer().save_pretrained(tmp_path / "run" / "tokenizer")
    _write_run(tmp_path / "run", tmp_path / "base", "base", [])
    with pytest.raises(ModelError, match="does not fit its base"):
        open_torch(tmp_path / "run")
