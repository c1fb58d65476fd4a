"""tokenizer.model read without protobuf, and the same ids as the sentencepiece library."""

from __future__ import annotations

import json

import pytest
from tinytokenizers import GEMMA, TEXT
from tinytokenizers import sentencepiece_model as train

from edgetune.errors import ModelError
from edgetune.models import load_tokenizer
from edgetune.models.sentencepiece_tokenizer import BYTE, CONTROL, UNKNOWN, read_model_file


@pytest.mark.parametrize("options", [{}, GEMMA], ids=["llama", "gemma"])
def test_ids_are_those_of_the_library(tmp_path, options):
    library = train(tmp_path, **options)
    tokenizer = load_tokenizer(tmp_path)
    for text in [*TEXT, "日本語 unseen 🙂", "a  b   c\n\nd"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == library.encode(text), text
        assert tokenizer.decode(ids) == library.decode(ids)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (library.bos_id(), library.eos_id())
    assert tokenizer("x")["input_ids"][0] == library.bos_id()


def test_pieces_carry_scores_and_types(tmp_path):
    library, pieces = train(tmp_path), read_model_file(tmp_path / "tokenizer.model")
    assert list(pieces.tokens) == [library.id_to_piece(index) for index in range(len(pieces.tokens))]
    assert list(pieces.scores) == [pytest.approx(library.get_score(index)) for index in range(len(pieces.tokens))]
    assert [pieces.types[0], pieces.types[1], pieces.types[3]] == [UNKNOWN, CONTROL, BYTE]
    assert pieces.prefixed


def test_the_config_names_special_tokens_and_template(tmp_path):
    train(tmp_path, **GEMMA)
    config = {"eos_token": {"content": "<end_of_turn>"}, "chat_template": "{{ messages }}", "model_max_length": 77}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_token == "<end_of_turn>"
    assert tokenizer.chat_template == "{{ messages }}"
    assert tokenizer.model_max_length == 77


def test_a_unigram_model_needs_its_tokenizer_json(tmp_path):
    train(tmp_path, kind="unigram")
    with pytest.raises(ModelError, match="is not a BPE model") as caught:
        load_tokenizer(tmp_path)
    assert "save_pretrained" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"\x0a\xff\xff", b"\x0a\x05abcde", b"\x0b"])
def test_a_damaged_model_is_named(tmp_path, content):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        load_tokenizer(tmp_path)
