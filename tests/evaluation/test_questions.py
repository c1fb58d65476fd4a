"""Prompts and labels through a runtime's tokenizer are those that training used."""

from __future__ import annotations

from datetime import datetime

import pytest
from tinygguf import write_tiny_gguf
from tinymodels import tiny_tokenizer

from edgetune.data.conversation import Conversation
from edgetune.data.rendering import Renderer
from edgetune.data.templating import encode_all, encode_prompts
from edgetune.errors import DataError
from edgetune.evaluation.questions import ask
from edgetune.models import stop_ids
from edgetune.runtimes import open_runtime
from edgetune.runtimes.fake import FakeTokenizer
from edgetune.runtimes.torch_tokenizer import TorchTokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Drops the thinking of earlier answers, as Qwen3 does, and adds an empty thought to the last.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Prompt ends in "h" and every answer begins with "e": the tokenizer merges them.
MERGING = (
    "{% for m in messages %}{{ m.role }}:h{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:h{% endif %}"
)


def chat(*turns, where="rows:1", system=None):
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return Conversation(tuple(messages), where)


#: As Llama 3's, with the formats that templates use and one that none does.
DATED = (
    "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}\n"
    "Today: {{ date_string }} {{ strftime_now('%A, %d %B %Y') }} "
    "{{ strftime_now('%d %B %Y') }} {{ strftime_now('%s') }}\n"
) + CHATML

ROWS = [
    chat("turn it on", "ok"),
    chat("hello", "e", "hello hello", "ell", "x", "y"),
    chat("hi", "there", system="Own system"),
]


def wrapped(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer, TorchTokenizer(tokenizer, frozenset(stop_ids(tokenizer)))


@pytest.mark.parametrize("template", [CHATML, THINKING, MERGING, DATED], ids=["chatml", "thinking", "merging", "dated"])
@pytest.mark.parametrize("system", [None, "Be brief"])
def test_labels_and_prompts_are_those_of_training(template, system):
    tokenizer, own = wrapped(template)
    questions = ask(ROWS, range(3), own, system, 500)
    expected = encode_all(ROWS, tokenizer, system).rows
    got = [scored for question in questions for scored in question.scored]
    assert {(row.input_ids, row.labels) for row in got} == {(row.input_ids, row.labels) for row in expected}
    assert len(got) == len(expected)
    for question, prompt in zip(questions, encode_prompts(ROWS, tokenizer, system), strict=True):
        assert question.prompt_ids == prompt.ids
        assert question.reference == prompt.reference


def test_weight_zero_is_read_but_not_scored():
    row = Conversation(
        (
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "weight": 0},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        )
    )
    tokenizer, own = wrapped(CHATML)
    (question,) = ask([row], [0], own, None, 500)
    (expected,) = encode_all([row], tokenizer).rows
    assert [s.labels for s in question.scored] == [expected.labels]
    assert "b" in question.prompt


def test_text_has_a_loss_and_no_question():
    row = Conversation((), text="hello <|im_end|>", kind="text")
    (question,) = ask([row], [7], wrapped(CHATML)[1], "system", 500)
    assert question.row == 7
    assert question.reference is None
    assert question.scored[0].input_ids == question.scored[0].labels


def test_prompt_and_completion_need_no_template():
    messages = ({"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"})
    _, own = wrapped(None)
    (question,) = ask([Conversation(messages, kind="completion")], [0], own, None, 500)
    assert (question.prompt, question.reference) == ("2+2=", "4")


def test_unusable_rows_are_all_named():
    rows = [
        chat("fine", "yes"),
        chat("x" * 300, "long", where="rows:2"),
        Conversation(({"role": "user", "content": "no answer"},), "rows:3"),
    ]
    with pytest.raises(DataError, match="2 of 3 rows cannot be evaluated") as caught:
        ask(rows, range(3), FakeTokenizer(), None, 200)
    assert [problem[:7] for problem in caught.value.problems] == ["rows:2:", "rows:3:"]
    assert "do not fit the context of 200" in caught.value.problems[0]


def test_a_template_that_opens_a_thought_is_refused():
    template = CHATML.replace("assistant\n{%", "assistant\n<think>{%")
    with pytest.raises(DataError) as caught:
        ask(ROWS[:1], [0], wrapped(template)[1], None, 500)
    assert "generation prompt is not how it begins an answer" in caught.value.problems[0]


def test_tools_reach_the_template():
    tool = {"type": "function", "function": {"name": "turn_on", "parameters": {}}}
    row = Conversation(chat("on", "ok").messages, tools=(tool,))
    (question,) = ask([row], [0], FakeTokenizer(), None, 200)
    assert question.prompt.startswith("<turn>tools:turn_on<stop>")
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    tokenizer, own = wrapped(template)
    (question,) = ask([row], [0], own, None, 500)
    (expected,) = encode_all([row], tokenizer).rows
    assert question.scored[0].labels == expected.labels
    assert "turn_on" in question.prompt


@pytest.mark.parametrize("runtime", ["torch", "llama.cpp"])
def test_a_dated_prompt_is_byte_for_byte_that_of_training_and_only_use_has_todays(tmp_path, runtime):
    tokenizer, own = wrapped(DATED)
    if runtime == "llama.cpp":
        opened = open_runtime(write_tiny_gguf(tmp_path / "dated.gguf", template=DATED), threads=1)
        own = opened.tokenizer
    trained = [Renderer(tokenizer, "Be brief").last(row) for row in ROWS]
    asked = ask(ROWS, range(3), own, "Be brief", 500)
    assert [question.prompt for question in asked] == [answer.prompt for answer in trained]
    assert trained[0].prompt.startswith("Today: 26 Jul 2024 Friday, 26 July 2024 26 July 2024 2024-07-26")
    today = datetime.now().astimezone().strftime("%d %B %Y")
    assert today in own.render([{"role": "user", "content": "hi"}])
    if runtime == "llama.cpp":
        opened.close()
