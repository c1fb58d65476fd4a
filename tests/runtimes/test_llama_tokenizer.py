"""llama.cpp's tokeniser behind our protocol, against the same vocabulary in transformers."""

import pytest
from tinygguf import write_tiny_gguf
from tinymodels import tiny_tokenizer

from edgetune.assistant import text_pieces
from edgetune.errors import ArtifactError
from edgetune.runtimes import open_runtime

TEXTS = ["hello", "", " two  spaces", "héllo 日本語 🙂", "<|im_start|>user\nhe<|im_end|>", "a\x00b", "\n\n", "x" * 500]


@pytest.fixture(scope="module")
def tokenizer(tiny_gguf):
    runtime = open_runtime(tiny_gguf, threads=1)
    yield runtime.tokenizer
    runtime.close()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("special", [True, False])
def test_same_ids_as_transformers_and_never_a_bos(tokenizer, text, special):
    other = tiny_tokenizer()
    expected = other(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
    assert tokenizer.encode(text, special=special) == expected
    assert tokenizer.decode(expected) == other.decode(expected, skip_special_tokens=True)


def test_special_tokens_and_stop_ids_come_from_the_vocabulary(tokenizer):
    expected = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    assert dict(tokenizer.special_tokens) == expected
    assert tokenizer.stop_ids == {0, 2}
    assert tokenizer.is_stop(2)
    assert not tokenizer.is_stop(1)


def test_the_template_in_the_file_is_used(tokenizer):
    text = tokenizer.render([{"role": "user", "content": "hi"}])
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert not tokenizer.render([{"role": "user", "content": "hi"}], add_generation_prompt=False).endswith("nt\n")


def test_unfinished_characters_are_marked(tokenizer):
    ids = tokenizer.encode("日")
    assert len(ids) == 3
    assert tokenizer.decode(ids[:2]) == "\N{REPLACEMENT CHARACTER}"


def test_a_file_without_template_says_so(tmp_path):
    runtime = open_runtime(write_tiny_gguf(tmp_path / "bare.gguf", template=None), threads=1)
    with pytest.raises(ArtifactError, match="no chat template"):
        runtime.tokenizer.render([])
    assert runtime.system is None
    runtime.close()


def test_sentencepiece_puts_a_space_before_text_and_takes_it_off_again(tmp_path):
    runtime = open_runtime(write_tiny_gguf(tmp_path / "sp.gguf", sentencepiece=True), threads=1)
    tokenizer = runtime.tokenizer
    hello, spaced = tokenizer.encode("hello"), tokenizer.encode(" hello")
    assert len(hello) == 1  # "▁hello", and no BOS
    assert tokenizer.decode(hello) == "hello"
    assert tokenizer.decode(spaced) == " hello"
    assert tokenizer.decode(hello * 2) == "hello hello"
    for text in ("hello hello", "  hello", "olé 日本", ""):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert "".join(text_pieces(ids, tokenizer)) == text
    assert tokenizer.encode("<s>hello</s>")[0] == 1
    assert tokenizer.special_tokens["unk_token"] == "<unk>"
    runtime.close()


def test_a_long_template_is_read_whole(tmp_path):
    template = "{# " + "long " * 2000 + "#}ä{{ messages[0].content }}"
    runtime = open_runtime(write_tiny_gguf(tmp_path / "long.gguf", template=template), threads=1)
    assert runtime.tokenizer.chat_template == template
    assert runtime.tokenizer.render([{"role": "user", "content": "hi"}]) == "ähi"
    runtime.close()
