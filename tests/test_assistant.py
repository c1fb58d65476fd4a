import pytest
from tinygguf import CHATML, write_tiny_gguf

from edgetune.assistant import Assistant, load, text_pieces
from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes.fake import FakeRuntime, FakeTokenizer


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", system="Answer briefly.")


@pytest.fixture
def assistant():
    return Assistant(FakeRuntime({"Hi": "Grüße, 日本 🙂!", "again": "yes"}, system="Be kind."))


def test_chat_takes_text_or_messages(assistant):
    assert assistant.chat("Hi") == "Grüße, 日本 🙂!"
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "again"},
    ]
    assert assistant.chat(talk) == "yes"


def test_pieces_never_end_within_a_character(assistant):
    pieces = list(assistant.stream("Hi"))  # the fake sends one byte a token
    assert pieces == list("Grüße, 日本 🙂!")


def test_an_answer_cut_within_a_character_keeps_the_rest(assistant):
    assert "".join(assistant.stream("Hi", max_new_tokens=3)) == "Gr\N{REPLACEMENT CHARACTER}"


def test_pieces_join_to_the_decoded_whole_even_of_noise():
    tokenizer = FakeTokenizer()
    noise = [0xE6, 0x97, 0xA5, 0xFF, 0x41, 0xC3, 0x42, 0xF0, 0x9F, 0x98, 0x80, 0x80, 0x43, 256, 0x44, 0xE6]
    assert "".join(text_pieces(noise, tokenizer)) == tokenizer.decode(noise)


def test_the_trained_system_prompt_is_used_unless_told_otherwise(assistant):
    def first(*args, **options):
        return Assistant(FakeRuntime({}, system="Be kind."), **options).messages(*args)[0]

    user = {"role": "user", "content": "Hi"}
    assert assistant.messages("Hi") == ({"role": "system", "content": "Be kind."}, user)
    assert first("Hi", system="Be brief.")["content"] == "Be brief."
    assert first("Hi", system="") == user
    own = {"role": "system", "content": "Mine."}
    assert assistant.messages([own, user]) == (own, user)


def test_leaving_the_block_closes_the_runtime():
    runtime = FakeRuntime({})
    with Assistant(runtime):
        assert not runtime.closed
    assert runtime.closed


def test_load_answers_from_a_file(model_file):
    with load(model_file, threads=1, max_new_tokens=12) as assistant:
        answer = assistant.chat("hello")
        assert answer
        assert "".join(assistant.stream("hello")) == answer
        assert len(assistant.chat("hello", max_new_tokens=2)) < len(answer)
        rendered = assistant.runtime.tokenizer.render(assistant.messages("hello"))
        assert rendered.startswith("<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\nhello")


def test_load_says_what_is_wrong(tmp_path, model_file):
    with pytest.raises(ArtifactError, match="no such artifact"):
        load(tmp_path / "nothing.gguf")
    with pytest.raises(TypeError, match="max_tokens"):
        load(model_file, max_tokens=3)
    with load(model_file, threads=1, context=64) as assistant, pytest.raises(DataError, match="does not fit a context"):
        assistant.chat("hello " * 100)


def test_a_template_that_knows_no_system_role_is_named(tmp_path):
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
    path = write_tiny_gguf(tmp_path / "strict.gguf", template=template)
    with load(path, threads=1, system="x") as assistant, pytest.raises(DataError, match="no system role"):
        assistant.chat("hello")
