"""The vocabulary in a GGUF file gives the original's token ids in llama.cpp, or the export is refused."""

from __future__ import annotations

import json

import gguf
import pytest
from edgetune_gguf.hostile_text import FIXED, hostile_texts
from edgetune_gguf.vocabulary import VocabularyCheck, add_vocabulary, check_vocabulary
from edgetune_gguf.vocabulary_check import Mismatch
from tinytokenizers import CHATML, GEMMA, byte_level, sentencepiece_bpe, sentencepiece_model, unigram
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

from edgetune.errors import ExportError
from edgetune.models import load_tokenizer
from edgetune.models.gguf_tokenizer import PATTERNS

DIGITS = pre_tokenizers.Digits(individual_digits=True)
#: DeepSeek's splitting, from its tokenizer.json.
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
]
SPLIT_DEEPSEEK = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in DEEPSEEK]
INST = "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }}</s>{% endfor %}"
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GEMMA_TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
)


def special(*texts: str, **flags: bool) -> tuple[AddedToken, ...]:
    return tuple(AddedToken(text, normalized=False, special=True, **flags) for text in texts)


def write(folder, tokenizer, rows=0, name="tiny", **options) -> tuple[VocabularyCheck, dict]:
    """Add the vocabulary to a writer, write the file, check the file too, and return its keys."""
    writer = gguf.GGUFWriter(folder / "vocabulary.gguf", "llama")
    writer.add_name(name)
    check = add_vocabulary(writer, folder, "llama", rows or len(tokenizer), **options)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    finished = check_vocabulary(folder / "vocabulary.gguf", folder)
    assert (finished.mismatches, finished.strings) == (check.mismatches, check.strings)
    assert check.mismatches == 0 or check.notes, "a difference is never accepted in silence"
    return check, {key: value.value for key, value in writer.kv_data[0].items()}


@pytest.mark.parametrize(
    ("pre", "options"),
    [
        ("gpt-2", {}),
        ("smollm", {"steps": [DIGITS]}),
        ("llama-bpe", {"pattern": PATTERNS["llama-bpe"], "ignore_merges": True}),
        ("smaug-bpe", {"pattern": PATTERNS["llama-bpe"]}),
        ("qwen2", {"pattern": PATTERNS["qwen2"]}),
        ("deepseek-v3", {"steps": SPLIT_DEEPSEEK, "gpt2_split": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_way_of_splitting_is_found_and_proved(tmp_path, pre, options):
    check, keys = write(tmp_path, byte_level(tmp_path, **options))
    assert (check.kind, check.pre, check.mismatches) == ("gpt2", pre, 0)
    assert check.strings > 300
    assert keys["tokenizer.ggml.pre"] == pre
    assert check.tried[-1] == f"pre={pre}"


@pytest.mark.parametrize("name", ["gpt-4o", "tekken"])
def test_the_name_that_the_pattern_suggests_is_not_trusted(tmp_path, name):
    # llama.cpp's own versions of these patterns lose combining marks; a name from a table would be wrong
    check, _ = write(tmp_path, byte_level(tmp_path, pattern=PATTERNS[name]))
    assert check.tried[0] == f"pre={name}"
    assert check.pre == "granite-embed-multi-97m"


def test_a_way_of_splitting_that_llama_cpp_lacks_is_refused_with_an_example(tmp_path):
    tokenizer = byte_level(tmp_path, pattern=r"[\s\S]{1,3}")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    with pytest.raises(
        ExportError, match=r"no way that gives this tokenizer's ids: of \d\d tried, the closest"
    ) as caught:
        add_vocabulary(writer, tmp_path, "llama", len(tokenizer))
    assert "expected" in caught.value.problems[0]
    assert not [key for key in writer.kv_data[0] if key.startswith("tokenizer.")]


def test_a_space_prefix_that_llama_cpp_ignores_is_refused(tmp_path):
    tokenizer = byte_level(tmp_path)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ExportError, match="no way that gives"):
        write(tmp_path, tokenizer)


def test_a_normaliser_that_llama_cpp_lacks_is_refused(tmp_path):
    tokenizer = byte_level(tmp_path)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ExportError, match="no way that gives"):
        write(tmp_path, tokenizer)


def test_composed_unicode_is_noted(tmp_path):
    check, _ = write(tmp_path, byte_level(tmp_path, pattern=PATTERNS["qwen2"], composes=True))
    assert check.pre == "qwen2"
    assert "NFC" in check.notes[0]


def test_rows_without_a_token_are_filled_and_unused(tmp_path):
    tokenizer = byte_level(tmp_path)
    _, keys = write(tmp_path, tokenizer, rows=len(tokenizer) + 2)
    size = len(tokenizer)
    assert keys["tokenizer.ggml.tokens"][-2:] == [f"[PAD{size}]", f"[PAD{size + 1}]"]
    assert keys["tokenizer.ggml.token_type"][-2:] == [gguf.TokenType.UNUSED] * 2


def test_more_tokens_than_rows_are_refused_by_name(tmp_path):
    tokenizer = byte_level(tmp_path, extra=special("<|new|>"))
    with pytest.raises(ExportError, match="1 tokens that the model has no row for") as caught:
        write(tmp_path, tokenizer, rows=len(tokenizer) - 1)
    assert "<|new|>" in caught.value.problems[0]


def test_token_types_and_special_ids(tmp_path):
    extra = (*special("<|tool|>"), AddedToken("<think>", normalized=False, special=False))
    tokenizer = byte_level(tmp_path, extra=extra)
    _, keys = write(tmp_path, tokenizer)
    types = dict(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], strict=True))
    assert types["<|tool|>"] == types["<|im_end|>"] == gguf.TokenType.CONTROL
    assert types["<think>"] == gguf.TokenType.USER_DEFINED
    assert types["Ġ"] == gguf.TokenType.NORMAL
    ids = {role: keys[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos", "padding", "eot")}
    assert ids == {"bos": 1, "eos": 2, "padding": 0, "eot": 2}
    assert (keys["tokenizer.ggml.add_bos_token"], keys["tokenizer.ggml.add_eos_token"]) == (False, False)
    assert keys["tokenizer.chat_template"] == CHATML


def test_the_stop_ids_are_known_to_llama_cpp(tmp_path):
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<stop!>{% endfor %}"
    tokenizer = byte_level(tmp_path, extra=special("<stop!>", "<halt!>"), template=template)
    stop, halt = tokenizer.convert_tokens_to_ids(["<stop!>", "<halt!>"])
    check, keys = write(tmp_path, tokenizer, stops=[halt])
    assert check.stop_ids == (stop, 2, halt)
    assert keys["tokenizer.ggml.eot_token_id"] == stop
    assert keys["tokenizer.ggml.eom_token_id"] == halt


def test_a_stop_that_the_file_cannot_name_is_refused(tmp_path):
    tokenizer = byte_level(tmp_path, extra=special("<a!>", "<b!>", "<c!>"), template="")
    stops = tokenizer.convert_tokens_to_ids(["<a!>", "<b!>", "<c!>"])
    with pytest.raises(ExportError, match="would not stop") as caught:
        write(tmp_path, tokenizer, stops=stops)
    assert "<b!>" in caught.value.problems[0]


@pytest.mark.parametrize("prepend", ["normalizer", "never"])
def test_sentencepiece_bpe(tmp_path, prepend):
    check, keys = write(tmp_path, sentencepiece_bpe(tmp_path, prepend=prepend))
    assert (check.kind, check.mismatches, check.notes) == ("llama", 0, ())
    assert keys["tokenizer.ggml.add_space_prefix"] is (prepend == "normalizer")
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.token_type"][:4] == [
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.CONTROL,
        gguf.TokenType.CONTROL,
        gguf.TokenType.BYTE,
    ]
    assert len(keys["tokenizer.ggml.scores"]) == len(keys["tokenizer.ggml.tokens"])
    assert "tokenizer.ggml.merges" not in keys


@pytest.mark.parametrize("options", [{}, GEMMA], ids=["llama", "gemma"])
def test_tokenizer_model_files_of_the_sentencepiece_library(tmp_path, options):
    sentencepiece_model(tmp_path, **options)
    if options:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": GEMMA_TURNS}))
    tokenizer = load_tokenizer(tmp_path)
    check, keys = write(tmp_path, tokenizer)
    assert (check.kind, check.mismatches, check.notes) == ("llama", 0, ())
    types = dict(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], strict=True))
    assert types.get("  ") == (gguf.TokenType.USER_DEFINED if options else None)
    stop = "<end_of_turn>" if options else "</s>"
    assert check.stop_ids[0] == tokenizer.convert_tokens_to_ids(stop)


def test_phi3_tokens_that_swallow_the_space_after_them_need_the_name(tmp_path):
    extra = (*special("<|user|>", "<|assistant|>", "<|end|>", rstrip=True), *special("<|endoftext|>"))
    tokenizer = sentencepiece_bpe(tmp_path, extra=extra, template=PHI3)
    tokenizer.add_special_tokens({"eos_token": special("</s>", rstrip=True)[0]})
    tokenizer.save_pretrained(tmp_path)
    check, keys = write(tmp_path, tokenizer, name="smart-home")
    assert keys["general.name"] == "smart-home Phi-3"
    assert "Phi-3" in check.notes[0]


def test_a_space_before_the_first_word_only_is_right_in_chats(tmp_path):
    tokenizer = sentencepiece_bpe(tmp_path, prepend="first", template=INST)
    check, keys = write(tmp_path, tokenizer)
    assert keys["tokenizer.ggml.add_space_prefix"] is False
    assert "begins with no special token" in check.notes[0]
    assert check.mismatches > 0


def test_a_space_before_the_first_word_only_is_refused_without_chats(tmp_path):
    with pytest.raises(ExportError, match="no way that gives"):
        write(tmp_path, sentencepiece_bpe(tmp_path, prepend="first"))


def test_sentencepiece_without_byte_tokens_is_refused_before_llama_cpp_aborts(tmp_path):
    with pytest.raises(ExportError, match="lacks 256 of the 256 byte tokens"):
        write(tmp_path, sentencepiece_bpe(tmp_path, bytes_too=False))


def test_unigram_is_kept_where_llama_cpp_agrees(tmp_path):
    check, keys = write(tmp_path, unigram(tmp_path, prepend="never"))
    assert (check.kind, check.mismatches) == ("t5", 0)
    assert keys["tokenizer.ggml.remove_extra_whitespaces"] is False


def test_unigram_is_refused_where_it_does_not(tmp_path):
    with pytest.raises(ExportError, match="no way that gives"):
        write(tmp_path, unigram(tmp_path, prepend="always"))


def test_a_finished_file_with_another_vocabulary_is_found_out(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write(ours, byte_level(ours, steps=[DIGITS]))
    byte_level(theirs, pattern=PATTERNS["llama-bpe"])
    with pytest.raises(ExportError, match="no way that gives"):
        check_vocabulary(ours / "vocabulary.gguf", theirs)


def test_a_finished_file_that_cannot_be_loaded_is_said_so(tmp_path):
    byte_level(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ExportError, match="cannot load the vocabulary"):
        check_vocabulary(tmp_path / "x.gguf", tmp_path)


def test_the_text_is_hostile_in_every_way_that_matters(tmp_path):
    tokenizer = byte_level(tmp_path)
    texts = hostile_texts(tokenizer)
    everything = "\n".join(texts)
    assert len(texts) == len(set(texts))
    for trouble in ("\r\n", "\t\t", "     ", "12345678901234567890", "'LL", "\u200d", "e\u0301", "你好", "عربي", "ไทย"):
        assert trouble in everything
    assert any("<|im_end|>user\n" in text for text in texts)
    assert set(FIXED) <= set(texts)


def test_a_mismatch_shows_where_the_two_part():
    shown = str(Mismatch("x" * 100, (1, 2, 3, 4, 5, 6), (1, 2, 9, 4, 5, 6)))
    assert shown.endswith("from token 2 on [3, 4, 5, 6] expected, [9, 4, 5, 6] by llama.cpp")
    assert len(shown) < 160
    assert "from token 1 on [2] expected, [] by" in str(Mismatch("y", (1, 2), (1,)))
