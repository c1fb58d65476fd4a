"""Loss masks, proved against renders and tokenisations that the test makes on its own."""

import pytest

from edgetune.data.conversation import Conversation
from edgetune.data.templating import IGNORE, encode, encode_all, encode_prompts, prompt_ids
from edgetune.errors import DataError

FAMILIES = ["chatml", "llama3", "gemma", "mistral"]
VOCABULARIES = ["byte-level", "metaspace"]
STOPS = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "qwen3": "<|im_end|>",
}
FIXED = {"date_string": "26 Jul 2024"}

ONE = [("user", "turn on the kitchen lights"), ("assistant", '{"intent": "HassTurnOn", "area": "kitchen"}')]
MANY = [*ONE, ("user", "and off? 🙂"), ("assistant", "ok, off"), ("user", "你好"), ("assistant", "ça va")]


def talk(turns, **options):
    return Conversation(tuple({"role": role, "content": text} for role, text in turns), "rows.jsonl:1", **options)


def render(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(list(messages), tokenize=False, **FIXED, **options)


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def spans(row):
    """(start, end) of each run of learnt tokens."""
    learnt = [label != IGNORE for label in row.labels] + [False]
    starts = [i for i, on in enumerate(learnt) if on and not (i and learnt[i - 1])]
    return [(start, learnt.index(False, start)) for start in starts]


@pytest.mark.parametrize("turns", [ONE, MANY], ids=["single", "multi"])
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_learns_each_answer_with_its_end_and_nothing_else(make_tokenizer, family, vocabulary, turns):
    tokenizer = make_tokenizer(family, vocabulary)
    conversation = talk(turns)
    row = encode(conversation, tokenizer)
    whole = ids_of(tokenizer, render(tokenizer, conversation.messages))
    assert list(row.input_ids) == whole[: len(row.input_ids)]
    answers = [i for i, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    found = spans(row)
    assert len(found) == len(answers)
    for (start, end), at in zip(found, answers, strict=True):
        prompt = render(tokenizer, conversation.messages[:at], add_generation_prompt=True)
        assert list(row.input_ids[:start]) == ids_of(tokenizer, prompt)
        assert tokenizer.convert_ids_to_tokens(row.input_ids[end - 1]) == STOPS[family]
        said = tokenizer.decode(row.input_ids[start : end - 1]).strip()
        assert said == conversation.messages[at]["content"]
        assert row.labels[start:end] == row.input_ids[start:end]
    assert found[-1][1] == len(row.input_ids)  # white space after the last end token is left out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_for_evaluation_is_the_beginning_of_the_training_row(make_tokenizer, family):
    tokenizer = make_tokenizer(family)
    prompt = prompt_ids(talk(MANY), tokenizer)
    row = encode(talk(MANY), tokenizer)
    start, end = spans(row)[-1]
    assert prompt.ids == row.input_ids[:start]
    assert prompt.reference.strip() == "ça va"
    assert prompt.reference == tokenizer.decode(row.input_ids[start : end - 1])


@pytest.mark.parametrize("family", ["llama3", "gemma", "mistral"])
def test_bos_comes_once_though_the_tokenizer_adds_one_too(make_tokenizer, family):
    tokenizer = make_tokenizer(family, adds_bos=True)
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    row = encode(talk(ONE), tokenizer)
    assert row.input_ids.count(tokenizer.bos_token_id) == 1
    assert prompt_ids(talk(ONE), tokenizer).ids.count(tokenizer.bos_token_id) == 1


def test_weight_zero_is_read_but_not_learnt(make_tokenizer):
    tokenizer = make_tokenizer("chatml")
    messages = list(talk(MANY).messages)
    messages[1] = messages[1] | {"weight": 0}
    weighted, plain = encode(Conversation(tuple(messages)), tokenizer), encode(talk(MANY), tokenizer)
    assert weighted.input_ids == plain.input_ids
    assert spans(weighted) == spans(plain)[1:]


def test_a_row_ends_with_its_last_learnt_token(make_tokenizer):
    tokenizer = make_tokenizer("chatml")
    messages = list(talk(MANY).messages)
    messages[5] = messages[5] | {"weight": 0}
    row = encode(Conversation(tuple(messages)), tokenizer)
    assert row.labels[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert len(spans(row)) == 2


def test_the_system_prompt_goes_before_rows_without_one(make_tokenizer):
    tokenizer = make_tokenizer("chatml")
    given = encode(talk(ONE), tokenizer, "Answer briefly.")
    own = encode(talk([("system", "Answer briefly."), *ONE]), tokenizer, "Something else")
    assert given == own
    assert "helpful assistant" in tokenizer.decode(encode(talk(ONE), tokenizer).input_ids)  # the template's default


def test_developer_becomes_system_where_the_template_knows_no_developer(make_tokenizer):
    tokenizer = make_tokenizer("chatml")
    row = encode(talk([("developer", "Answer briefly."), *ONE]), tokenizer, "Something else")
    assert row == encode(talk([("system", "Answer briefly."), *ONE]), tokenizer)


def test_todays_date_never_gets_into_a_row(make_tokenizer):
    text = make_tokenizer("llama3").decode(encode(talk(ONE), make_tokenizer("llama3")).input_ids)
    assert "Today Date: 26 Jul 2024" in text


class TestTemplatesThatRewriteEarlierTurns:
    def test_each_answer_becomes_a_row_as_the_model_meets_it(self, make_tokenizer):
        tokenizer = make_tokenizer("qwen3")
        made = encode_all([talk(MANY), talk(ONE)], tokenizer)
        assert (made.conversations, made.split, len(made.rows)) == (2, 1, 4)
        for row, at in zip(made.rows[:3], (1, 3, 5), strict=True):
            messages = talk(MANY).messages
            ((start, _),) = spans(row)
            prompt = render(tokenizer, messages[:at], add_generation_prompt=True)
            assert list(row.input_ids[:start]) == ids_of(tokenizer, prompt)
            whole = ids_of(tokenizer, render(tokenizer, messages[: at + 1]))
            assert list(row.input_ids) == whole[: len(row.input_ids)]
            assert "<think>\n\n</think>" in tokenizer.decode(row.input_ids[start:])

    def test_encode_alone_says_so(self, make_tokenizer):
        with pytest.raises(DataError, match="becomes 3 rows"):
            encode(talk(MANY), make_tokenizer("qwen3"))

    def test_thoughts_are_learnt_where_given(self, make_tokenizer):
        tokenizer = make_tokenizer("qwen3")
        messages = (*talk(ONE[:1]).messages, {"role": "assistant", "content": "ok", "reasoning_content": "hello"})
        row = encode(Conversation(messages), tokenizer)
        assert "<think>\nhello\n</think>\n\nok<|im_end|>" in tokenizer.decode(row.input_ids)


class TestTemplatesThatCloseTheText:
    def test_the_turn_ends_before_what_closes_the_text(self, make_tokenizer):
        tokenizer = make_tokenizer("phi3")
        row = encode(talk(MANY), tokenizer)  # one row: what closes the text is in no earlier answer's way
        assert len(spans(row)) == 3
        assert tokenizer.eos_token_id not in row.input_ids
        assert tokenizer.convert_ids_to_tokens(row.labels[-1]) == "<|im_end|>"
        assert "</s>" in render(tokenizer, talk(MANY).messages)

    def test_a_control_token_of_the_answer_itself_is_no_closing(self, make_tokenizer):
        tokenizer = make_tokenizer("chatml")
        row = encode(talk([ONE[0], ("assistant", "hello </s>")]), tokenizer)
        assert tokenizer.decode(row.input_ids).endswith("hello </s><|im_end|>")


class TestTemplatesThatShowTheSystemPromptOnlyToQuestions:
    def test_every_answer_follows_the_prompt_of_use(self, make_tokenizer):
        tokenizer = make_tokenizer("mistral-v3")
        made = encode_all([talk(MANY)], tokenizer, "Be brief")
        messages = ({"role": "system", "content": "Be brief"}, *talk(MANY).messages)
        assert (made.split, len(made.rows)) == (1, 3)
        for row, at in zip(made.rows, (2, 4, 6), strict=True):
            prompt = render(tokenizer, messages[:at], add_generation_prompt=True)
            assert prompt.count("Be brief") == 1
            ((start, end),) = spans(row)
            assert list(row.input_ids[:start]) == ids_of(tokenizer, prompt)
            assert tokenizer.decode(row.input_ids[start:end]) == f" {messages[at]['content']}</s>"

    def test_without_a_system_prompt_one_row_is_enough(self, make_tokenizer):
        assert len(spans(encode(talk(MANY), make_tokenizer("mistral-v3")))) == 3


def test_a_template_without_an_end_token_gets_eos_and_a_row_for_each_answer(make_tokenizer):
    tokenizer = make_tokenizer("bare")
    made = encode_all([talk(MANY)], tokenizer)
    assert len(made.rows) == 3
    assert made.stop_ids == {tokenizer.eos_token_id}
    for row in made.rows:
        assert row.input_ids.count(tokenizer.eos_token_id) == 1
        assert row.labels[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(made.rows[1].input_ids).endswith("Q: and off? 🙂\nA: ok, off\n</s>")


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_an_answer_that_would_merge_with_its_prompt_is_tokenised_apart(make_tokenizer, vocabulary):
    tokenizer = make_tokenizer("chatml", vocabulary)
    conversation = talk([("user", "hello"), ("assistant", "\n\nA new paragraph")])
    prompt = ids_of(tokenizer, render(tokenizer, conversation.messages[:1], add_generation_prompt=True))
    whole = ids_of(tokenizer, render(tokenizer, conversation.messages))
    assert whole[: len(prompt)] != prompt  # newlines of both are one token: the case this test is about
    row = encode(conversation, tokenizer)
    assert list(row.input_ids[: len(prompt)]) == prompt
    assert spans(row) == [(len(prompt), len(row.input_ids))]
    assert tokenizer.decode(row.input_ids) + "\n" == tokenizer.decode(whole)
    assert prompt_ids(conversation, tokenizer).ids == tuple(prompt)


def test_tool_calls_are_learnt_as_the_template_writes_them(make_tokenizer):
    tokenizer = make_tokenizer("qwen3")
    call = {"id": "1", "type": "function", "function": {"name": "turn_on", "arguments": {"area": "kitchen"}}}
    messages = ({"role": "user", "content": "lights"}, {"role": "assistant", "content": "", "tool_calls": [call]})
    tools = ({"type": "function", "function": {"name": "turn_on", "parameters": {}}},)
    row = encode(Conversation(messages, tools=tools), tokenizer)
    ((start, _),) = spans(row)
    assert "# Tools" in tokenizer.decode(row.input_ids[:start])
    assert '"arguments": {"area": "kitchen"}' in tokenizer.decode(row.input_ids[start:])


class TestWithoutATemplate:
    @pytest.mark.parametrize("adds_bos", [False, True])
    def test_a_completion_is_learnt_after_its_prompt(self, make_tokenizer, adds_bos):
        tokenizer = make_tokenizer("none", adds_bos=adds_bos)
        conversation = talk([("user", "What is the time?"), ("assistant", " hello")], kind="completion")
        row = encode(conversation, tokenizer)
        start = [tokenizer.bos_token_id] * adds_bos
        assert list(row.input_ids) == [*start, *ids_of(tokenizer, "What is the time? hello"), tokenizer.eos_token_id]
        ((begin, end),) = spans(row)
        assert list(row.input_ids[:begin]) == start + ids_of(tokenizer, "What is the time?")
        assert end == len(row.input_ids)
        assert prompt_ids(conversation, tokenizer) == (row.input_ids[:begin], " hello")

    @pytest.mark.parametrize("vocabulary", VOCABULARIES)
    def test_a_space_at_the_end_of_the_prompt_stays_there(self, make_tokenizer, vocabulary):
        tokenizer = make_tokenizer("none", vocabulary)
        conversation = talk([("user", "What is the time? "), ("assistant", "hello")], kind="completion")
        row = encode(conversation, tokenizer)
        ((begin, _),) = spans(row)
        assert list(row.input_ids[:begin])[-len(ids_of(tokenizer, "What is the time? ")) :] == ids_of(
            tokenizer, "What is the time? "
        )
        assert tokenizer.decode(row.input_ids, skip_special_tokens=True) == "What is the time? hello"

    def test_messages_are_refused(self, make_tokenizer):
        with pytest.raises(DataError, match="has no chat template, which messages need") as caught:
            encode(talk(ONE), make_tokenizer("none"))
        assert "model.chat_template" in caught.value.hint

    def test_a_system_prompt_is_refused(self, make_tokenizer):
        with pytest.raises(DataError, match=r"no place for task\.system"):
            encode(talk(ONE, kind="completion"), make_tokenizer("none"), "Be brief")

    def test_a_tokenizer_without_eos_is_refused(self, make_tokenizer):
        with pytest.raises(DataError, match="no end-of-sequence token"):
            encode(talk(ONE, kind="completion"), make_tokenizer("none", eos=None))


@pytest.mark.parametrize("adds_bos", [False, True])
def test_plain_text_is_learnt_whole(make_tokenizer, adds_bos):
    tokenizer = make_tokenizer("chatml", adds_bos=adds_bos)
    row = encode(Conversation((), text="Bonjour, ça va?", kind="text"), tokenizer, "ignored for text")
    start = [tokenizer.bos_token_id] * adds_bos
    assert list(row.input_ids) == [*start, *ids_of(tokenizer, "Bonjour, ça va?"), tokenizer.eos_token_id]
    assert row.labels == row.input_ids


class TestRefused:
    def refused(self, tokenizer, conversation, system=None):
        with pytest.raises(DataError) as caught:
            encode_all([talk(ONE), conversation], tokenizer, system)
        (problem,) = caught.value.problems
        assert problem.startswith("rows.jsonl:1: ")
        assert caught.value.message.startswith("1 of 2 rows do not fit")
        return problem

    def test_a_system_message_the_template_does_not_take(self, make_tokenizer):
        assert "System role not supported" in self.refused(make_tokenizer("gemma"), talk([("system", "x"), *ONE]))

    def test_roles_that_do_not_alternate(self, make_tokenizer):
        problem = self.refused(make_tokenizer("gemma"), talk([ONE[0], *ONE]))
        assert "must alternate" in problem
        assert "roles: user, user" in problem

    def test_tools_that_the_template_would_drop(self, make_tokenizer):
        assert "no place for tools" in self.refused(make_tokenizer("chatml"), talk(ONE, tools=({"function": {}},)))

    def test_tool_calls_that_the_template_would_drop(self, make_tokenizer):
        messages = (talk(ONE).messages[0], {"role": "assistant", "content": "", "tool_calls": [{"function": {}}]})
        problem = self.refused(make_tokenizer("chatml"), Conversation(messages, "rows.jsonl:1"))
        assert "no place for tool_calls" in problem

    def test_an_answer_that_the_template_drops(self, make_tokenizer):
        assert "leaves nothing of the answer" in self.refused(
            make_tokenizer("llama3"), talk([ONE[0], ("assistant", " ")])
        )

    def test_an_answer_with_its_own_end_token_inside(self, make_tokenizer):
        row = talk([ONE[0], ("assistant", "ok <|im_end|> more")])
        assert "learn to stop early" in self.refused(make_tokenizer("chatml"), row)

    def test_an_assistant_that_speaks_first(self, make_tokenizer):
        assert "nothing to answer" in self.refused(make_tokenizer("chatml"), talk([ONE[1]]))

    def test_weight_zero_everywhere(self, make_tokenizer):
        messages = tuple(message | {"weight": 0} for message in talk(ONE).messages)
        problem = self.refused(make_tokenizer("chatml"), Conversation(messages, "rows.jsonl:1"))
        assert "every assistant message has weight 0" in problem

    def test_a_template_whose_generation_prompt_begins_no_answer(self, make_tokenizer):
        with pytest.raises(DataError, match="generation prompt is not how it begins an answer") as caught:
            encode_all([talk(ONE), talk(MANY)], make_tokenizer("opens-thought"))
        assert len(caught.value.problems) == 2
        assert "<think>" in caught.value.problems[0]

    def test_a_prompt_of_plain_text(self, make_tokenizer):
        with pytest.raises(DataError, match="holds no question"):
            prompt_ids(Conversation((), text="x", kind="text"), make_tokenizer("chatml"))


class TestTooLong:
    ROWS = (talk(ONE), talk(MANY))

    def lengths(self, tokenizer):
        return encode_all(self.ROWS, tokenizer).lengths

    def test_dropped(self, make_tokenizer):
        tokenizer = make_tokenizer("chatml")
        short, long = self.lengths(tokenizer)
        made = encode_all(self.ROWS, tokenizer, max_tokens=long - 1, too_long="drop")
        assert [len(row.input_ids) for row in made.rows] == [short]
        assert (made.dropped, made.truncated, made.lengths) == (1, 0, (short, long))

    def test_truncated(self, make_tokenizer):
        tokenizer = make_tokenizer("chatml")
        short, long = self.lengths(tokenizer)
        made = encode_all(self.ROWS, tokenizer, max_tokens=long - 1, too_long="truncate")
        assert [len(row.input_ids) for row in made.rows] == [short, long - 1]
        assert (made.dropped, made.truncated) == (0, 1)

    def test_a_cut_that_leaves_no_answer_drops_the_row(self, make_tokenizer):
        tokenizer = make_tokenizer("chatml")
        long = talk([("user", "turn " * 200), ONE[1]])
        made = encode_all([talk(ONE), long], tokenizer, max_tokens=100, too_long="truncate")
        assert (len(made.rows), made.dropped, made.truncated) == (1, 1, 0)

    def test_error(self, make_tokenizer):
        tokenizer = make_tokenizer("chatml")
        _, long = self.lengths(tokenizer)
        with pytest.raises(DataError, match="1 of 2 rows are longer") as caught:
            encode_all(self.ROWS, tokenizer, max_tokens=long - 1, too_long="error")
        assert caught.value.problems == (f"rows.jsonl:1: {long} tokens",)

    def test_nothing_left(self, make_tokenizer):
        with pytest.raises(DataError, match="all 2 rows are longer than 5 tokens; the shortest has"):
            encode_all(self.ROWS, make_tokenizer("chatml"), max_tokens=5)


def test_many_rows_keep_their_order_over_batches(make_tokenizer, monkeypatch):
    monkeypatch.setattr("edgetune.data.templating.BATCH", 7)
    tokenizer = make_tokenizer("chatml")
    rows = [talk([("user", f"hello {i}"), ("assistant", f"{i}")]) for i in range(30)]
    made = encode_all(rows, tokenizer)
    assert list(made.rows) == [encode(row, tokenizer) for row in rows]
    assert [prompt.reference for prompt in encode_prompts(rows, tokenizer)] == [str(i) for i in range(30)]
    assert made.tokens == sum(made.lengths)
    assert made.answer_tokens == sum(end - start for row in made.rows for start, end in spans(row))
