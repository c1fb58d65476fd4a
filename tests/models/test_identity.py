"""Stop ids, context and hashes."""

from __future__ import annotations

import pytest
from tinytokenizers import byte_level
from tokenizers import AddedToken, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, PretrainedConfig

from edgetune.errors import ModelError
from edgetune.models import context_length, hash_template, hash_tokenizer, load_tokenizer, stop_ids

LLAMA3 = (
    "{% for m in messages %}<|start|>{{ m.role }}\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n\n{% endif %}"
)
EXTRA = (
    AddedToken("<|start|>", special=True),
    AddedToken("<|eot|>", special=True),
    AddedToken("<|eom|>", special=True),
)


def test_the_template_shows_what_ends_a_turn(tmp_path):
    tokenizer = byte_level(tmp_path, extra=EXTRA, template=LLAMA3)
    eot, eom = tokenizer.convert_tokens_to_ids(["<|eot|>", "<|eom|>"])
    assert stop_ids(tokenizer) == (eot, 2)
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=[2, eom, eot])) == (eot, 2, eom)
    assert stop_ids(tokenizer, LlamaConfig(eos_token_id=0)) == (eot, 0, 2)


def test_without_a_template_the_eos_token_stays(tmp_path):
    assert stop_ids(byte_level(tmp_path, template="")) == (2,)


def test_plain_text_after_an_answer_is_no_stop(tmp_path):
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert stop_ids(byte_level(tmp_path, template=template)) == (2,)


def test_space_before_the_end_token_does_not_hide_it(tmp_path):
    template = "{% for m in messages %}{{ m.content }} \n<|endoftext|>{% endfor %}"
    assert stop_ids(byte_level(tmp_path, template=template)) == (0, 2)


def test_a_template_that_cannot_render_is_an_error_with_a_way_out(tmp_path):
    tokenizer = byte_level(tmp_path, template="{{ raise_exception('only one turn') }}")
    with pytest.raises(ModelError, match="only one turn") as caught:
        stop_ids(tokenizer)
    assert "model.chat_template" in caught.value.hint


def test_the_context_comes_from_the_text_configuration():
    assert context_length(LlamaConfig(max_position_embeddings=4096)) == 4096
    with pytest.raises(ModelError, match="context length"):
        context_length(PretrainedConfig())


def test_the_tokenizer_hash_follows_what_decides_ids(tmp_path):
    plain = byte_level(tmp_path / "a")
    digits = byte_level(tmp_path / "b", steps=[pre_tokenizers.Digits(individual_digits=True)])
    assert hash_tokenizer(plain) != hash_tokenizer(digits)
    before = hash_tokenizer(plain)
    plain(["short", "a longer one"], padding=True, truncation=True, max_length=4)
    assert hash_tokenizer(plain) == before
    assert hash_tokenizer(load_tokenizer(tmp_path / "a")) == before
    plain.add_tokens(["<new>"])
    assert hash_tokenizer(plain) != before


def test_the_template_hash_follows_the_template(tmp_path):
    tokenizer = byte_level(tmp_path)
    before = hash_template(tokenizer)
    tokenizer.chat_template = None
    nothing = hash_template(tokenizer)
    tokenizer.chat_template = {"default": "a", "tool_use": "b"}
    assert len({before, nothing, hash_template(tokenizer)}) == 3
