"""A tokenizer that went into a GGUF file and came back gives the same ids."""

from __future__ import annotations

import gguf
import pytest
from edgetune_gguf.hostile_text import hostile_texts
from edgetune_gguf.vocabulary import add_vocabulary
from tinytokenizers import byte_level, sentencepiece_bpe
from tokenizers import AddedToken, pre_tokenizers

from edgetune.errors import ModelError
from edgetune.models import load_tokenizer
from edgetune.models.gguf_file import read_gguf
from edgetune.models.gguf_tokenizer import PATTERNS, write_tokenizer

DIGITS = [pre_tokenizers.Digits(individual_digits=True)]
THINK = (AddedToken("<think>", normalized=False, special=False), AddedToken("<tool>", normalized=False, special=True))
MAKERS = {
    "gpt-2": lambda folder: byte_level(folder, extra=THINK),
    "smollm": lambda folder: byte_level(folder, steps=DIGITS),
    "llama-bpe": lambda folder: byte_level(folder, pattern=PATTERNS["llama-bpe"], ignore_merges=True),
    "qwen2": lambda folder: byte_level(folder, pattern=PATTERNS["qwen2"], composes=True),
    "sentencepiece": sentencepiece_bpe,
    "sentencepiece-no-prefix": lambda folder: sentencepiece_bpe(folder, prepend="never", extra=THINK),
}


def write_gguf(folder, tokenizer, **keys):
    path = folder / "vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    add_vocabulary(writer, folder, "llama", len(tokenizer))
    for key, value in keys.items():
        name = f"tokenizer.ggml.{key}"
        writer.kv_data[0].pop(name, None)
        (writer.add_bool if isinstance(value, bool) else writer.add_string)(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_ids_template_and_special_tokens_survive(tmp_path, make):
    original = make(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    write_tokenizer(read_gguf(write_gguf(tmp_path, original)), again)
    loaded = load_tokenizer(again)
    for text in hostile_texts(original):
        assert loaded(text)["input_ids"] == original(text)["input_ids"], text
        assert loaded.decode(loaded(text)["input_ids"]) == original.decode(original(text)["input_ids"])
    assert loaded.chat_template == original.chat_template
    for role in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(loaded, role) == getattr(original, role)


def test_bos_is_added_where_the_file_asks_for_it(tmp_path):
    original = byte_level(tmp_path)
    for add in (True, False):
        write_tokenizer(read_gguf(write_gguf(tmp_path, original, add_bos_token=add)), tmp_path)
        assert (load_tokenizer(tmp_path)("hello")["input_ids"][0] == 1) is add


def test_an_unknown_way_of_splitting_is_refused_with_the_known_ones(tmp_path):
    path = write_gguf(tmp_path, byte_level(tmp_path), pre="martian")
    with pytest.raises(ModelError, match="'martian'") as caught:
        write_tokenizer(read_gguf(path), tmp_path)
    assert "smollm" in caught.value.hint


def test_an_unknown_kind_of_vocabulary_is_refused(tmp_path):
    path = write_gguf(tmp_path, byte_level(tmp_path), model="rwkv")
    with pytest.raises(ModelError, match="of kind 'rwkv'"):
        write_tokenizer(read_gguf(path), tmp_path)
