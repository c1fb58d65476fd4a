"""Models load whole or not at all; tokenizers load as their file is written."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tinytokenizers import TEXT, byte_level

from edgetune.errors import ModelError
from edgetune.models import load_config, load_model, load_tokenizer


def rewrite(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", torch.float16])
def test_a_whole_model_loads_in_the_type_asked_for(model_folder, dtype, capfd):
    model = load_model(model_folder, dtype=dtype)
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert {value.dtype for value in model.parameters()} == {wanted}
    assert not model.training
    assert "Loading weights" not in capfd.readouterr().err


def test_the_attention_can_be_chosen(model_folder):
    assert load_model(model_folder, dtype="float32").config._attn_implementation == "sdpa"
    assert load_model(model_folder, dtype="float32", attention="eager").config._attn_implementation == "eager"


def test_missing_and_misshapen_tensors_are_named_together(model_folder):
    def change(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"]
        tensors["model.norm.weight"] = torch.ones(7)

    rewrite(model_folder, change)
    with pytest.raises(ModelError, match="2 tensors missing or of another shape") as caught:
        load_model(model_folder, dtype="float32")
    assert caught.value.problems == (
        "model.norm.weight: (7,) in the file, (32,) by config.json",
        "model.layers.1.mlp.up_proj.weight: missing",
    )


def test_many_missing_tensors_are_summed_up(model_folder, edit_json):
    edit_json(model_folder / "config.json", num_hidden_layers=6)
    with pytest.raises(ModelError, match="36 tensors") as caught:
        load_model(model_folder, dtype="float32")
    assert caught.value.problems[-1] == "and 24 more"


def test_tied_weights_are_not_missing(model_folder, edit_json):
    edit_json(model_folder / "config.json", tie_word_embeddings=True)
    rewrite(model_folder, lambda tensors: tensors.pop("lm_head.weight"))
    model = load_model(model_folder, dtype="float32")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_truncated_file_is_named_before_loading(model_folder):
    file = model_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match="damaged weights") as caught:
        load_model(model_folder, dtype="float32")
    assert "truncated" in caught.value.problems[0]


def test_an_unknown_model_type_says_what_to_do(model_folder, edit_json):
    edit_json(model_folder / "config.json", model_type="martian")
    with pytest.raises(ModelError, match="martian") as caught:
        load_config(model_folder)
    assert "newer transformers" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": "big"}, "Field 'hidden_size' expected int, got str"),
        ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ({"layer_types": ["odd"]}, "layer_types"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"eos_token_id": {}}, "eos_token_id"),
        ({"id2label": 5}, "int"),
        ({"quantization_config": 3}, "int"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_is_one_message(model_folder, edit_json, change, said):
    edit_json(model_folder / "config.json", **change)
    with pytest.raises(ModelError, match="cannot read the model configuration in") as caught:
        load_config(model_folder)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "check config.json" in caught.value.hint


def test_a_model_that_generates_nothing_is_refused(model_folder, edit_json):
    edit_json(model_folder / "config.json", model_type="vit")
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(model_folder, dtype="float32")


@pytest.mark.parametrize(
    "named", ["LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "NoSuchClass"]
)
def test_the_tokenizer_file_counts_not_the_class_it_names(model_folder, edit_json, named):
    expected = byte_level(model_folder, pattern=r"\p{N}|\p{L}+|[^\p{L}\p{N}]")
    edit_json(model_folder / "tokenizer_config.json", tokenizer_class=named)
    loaded = load_tokenizer(model_folder)
    for text in TEXT[-80:]:
        assert loaded(text)["input_ids"] == expected(text)["input_ids"]


def test_a_chat_template_can_be_replaced(model_folder, tmp_path):
    (tmp_path / "mine.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    tokenizer = load_tokenizer(model_folder, tmp_path / "mine.jinja")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "[hi]"


def test_a_wrong_template_is_named_with_its_line(model_folder, tmp_path):
    (tmp_path / "bad.jinja").write_text("fine\n{% for %}")
    with pytest.raises(ModelError, match=r"bad\.jinja:2: not a valid Jinja template"):
        load_tokenizer(model_folder, tmp_path / "bad.jinja")
    with pytest.raises(ModelError, match="cannot read the chat template"):
        load_tokenizer(model_folder, tmp_path / "absent.jinja")


@pytest.mark.parametrize("content", ["{", "{}", '{"version": "1.0", "model": {"type": "Odd"}}'])
def test_a_damaged_tokenizer_is_named(model_folder, content):
    (model_folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="cannot load the tokenizer"):
        load_tokenizer(model_folder)


def test_a_folder_without_tokenizer_says_what_it_needs(model_folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model_folder / name).unlink()
    with pytest.raises(ModelError, match="cannot load the tokenizer") as caught:
        load_tokenizer(model_folder)
    assert "tokenizer.json" in caught.value.hint


def test_a_model_with_float_weights_in_another_type_still_loads(model_folder):
    rewrite(model_folder, lambda tensors: tensors.update({name: t.half() for name, t in tensors.items()}))
    assert load_model(model_folder, dtype="float32").lm_head.weight.dtype == torch.float32
    assert json.loads((model_folder / "config.json").read_text())["model_type"] == "llama"
