"""Good files of every kind and layout become the conversations they say."""

import json
from dataclasses import replace

import pytest

from edgetune.data.conversation import Conversation, write_rows
from edgetune.data.formats import FORMATS
from edgetune.data.reading import load_rows
from edgetune.data.splitting import find_leaks
from edgetune.errors import DataError
from edgetune.recipe import DataSettings

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def write(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def jsonl(tmp_path, *rows, name="rows.jsonl"):
    return write(tmp_path, name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def load(path, **options):
    return load_rows(path, **options).raise_on_problems()


def said(conversation):
    return [(message["role"], message["content"]) for message in conversation.messages]


def test_the_formats_are_those_of_the_recipe():
    annotation = DataSettings.model_fields["format"].annotation
    assert set(annotation.__args__) == {"auto", *FORMATS}


@pytest.mark.parametrize(
    ("row", "format", "keys", "expected"),
    [
        ({"messages": TALK}, "messages", "'messages'", [("user", "hi"), ("assistant", "hello")]),
        (
            {
                "conversations": [
                    {"from": "system", "value": "s"},
                    {"from": "human", "value": "hi"},
                    {"from": "gpt", "value": "a"},
                ]
            },
            "sharegpt",
            "'conversations'",
            [("system", "s"), ("user", "hi"), ("assistant", "a")],
        ),
        ({"conversations": TALK}, "sharegpt", "'conversations'", [("user", "hi"), ("assistant", "hello")]),
        (
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "a"}], "system": "s"},
            "sharegpt",
            "'conversations'",
            [("system", "s"), ("user", "hi"), ("assistant", "a")],
        ),
        (
            {"conversations": TALK, "system": "s"},
            "sharegpt",
            "'conversations'",
            [("system", "s"), ("user", "hi"), ("assistant", "hello")],
        ),
        (
            {"prompt": TALK[:1], "completion": TALK[1:], "system": "s"},
            "prompt-completion",
            "'prompt' and 'completion'",
            [("system", "s"), ("user", "hi"), ("assistant", "hello")],
        ),
        (
            {"prompt": [{"role": "system", "content": "s"}, *TALK[:1]], "completion": TALK[1:], "system": "s"},
            "prompt-completion",
            "'prompt' and 'completion'",
            [("system", "s"), ("user", "hi"), ("assistant", "hello")],
        ),
        (
            {"instruction": "Translate", "input": "hello", "output": "bonjour"},
            "alpaca",
            "'instruction' and 'output'",
            [("user", "Translate\n\nhello"), ("assistant", "bonjour")],
        ),
        (
            {"instruction": "Say hi", "input": "", "output": "hi", "system": "s"},
            "alpaca",
            "'instruction' and 'output'",
            [("system", "s"), ("user", "Say hi"), ("assistant", "hi")],
        ),
        (
            {"prompt": "a", "completion": "b"},
            "prompt-completion",
            "'prompt' and 'completion'",
            [("user", "a"), ("assistant", "b")],
        ),
        (
            {"question": "a", "answer": "b"},
            "prompt-completion",
            "'question' and 'answer'",
            [("user", "a"), ("assistant", "b")],
        ),
        (
            {"prompt": TALK + TALK[:1], "completion": TALK[1:]},
            "prompt-completion",
            "'prompt' and 'completion'",
            [("user", "hi"), ("assistant", "hello"), ("user", "hi"), ("assistant", "hello")],
        ),
    ],
)
def test_each_layout_is_detected_and_read(tmp_path, row, format, keys, expected):
    loaded = load(jsonl(tmp_path, row, row))
    assert loaded.format == format
    assert loaded.reason == f"keys {keys} in 2 of 2 rows"
    assert said(loaded.rows[0]) == expected
    assert loaded.rows[1].where == f"{tmp_path}/rows.jsonl:2"


@pytest.mark.parametrize("many", [False, True])
def test_a_call_may_stand_as_it_is_or_as_text(tmp_path, many):
    call = {"name": "on", "arguments": {"area": "hall"}}
    value = [call, call] if many else call
    rows = [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "function_call", "value": written}]}
        for written in (value, json.dumps(value))
    ]
    first, second = load(jsonl(tmp_path, *rows)).raise_on_problems().rows
    assert first.messages == second.messages
    assert [one["function"] for one in first.answer["tool_calls"]] == ([call, call] if many else [call])


def test_a_number_that_is_not_finite_is_an_empty_cell_of_a_table(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"text": ["a", "b"], "score": [float("nan"), float("-inf")]}), path)
    assert [row.text for row in load(path).raise_on_problems().rows] == ["a", "b"]


def test_plain_text_rows(tmp_path):
    (row,) = load(jsonl(tmp_path, {"text": "once upon a time"})).rows
    assert (row.text, row.messages, row.kind) == ("once upon a time", (), "text")


def test_a_row_with_several_layouts_takes_the_richest(tmp_path):
    loaded = load(jsonl(tmp_path, {"prompt": "x", "completion": "y", "messages": TALK, "text": "z"}))
    assert loaded.format == "messages"
    assert {str(p.message).split("'")[1] for p in loaded.warnings} == {"prompt", "completion", "text"}


def test_a_named_format_wins_over_detection(tmp_path):
    loaded = load(jsonl(tmp_path, {"messages": TALK, "text": "z"}), format="text")
    assert (loaded.rows[0].text, loaded.reason) == ("z", "as given")


def test_completions_of_messages_learn_only_the_completion(tmp_path):
    (row,) = load(jsonl(tmp_path, {"prompt": TALK + TALK[:1], "completion": TALK[1:]})).rows
    assert [message.get("weight") for message in row.messages] == [None, 0, None, None]


class TestMessages:
    def one(self, tmp_path, *messages, **row):
        return load(jsonl(tmp_path, {"messages": list(messages), **row})).rows[0]

    def test_parts_of_text_are_joined(self, tmp_path):
        parts = [{"type": "text", "text": "good "}, {"type": "text", "text": "day"}]
        row = self.one(tmp_path, {"role": "user", "content": parts}, TALK[1])
        assert said(row)[0] == ("user", "good day")

    def test_weights_names_and_thoughts_are_kept(self, tmp_path):
        answer = TALK[1] | {"weight": 0, "name": "bot", "reasoning_content": "hm"}
        row = self.one(tmp_path, TALK[0], answer, *TALK)
        assert row.messages[1] == answer

    def test_tools_and_calls_are_kept_with_arguments_as_an_object(self, tmp_path):
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        row = self.one(
            tmp_path,
            TALK[0],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
            TALK[1],
            tools=[tool],
            parallel_tool_calls=False,
        )
        assert row.tools == (tool,)
        assert row.messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
        assert row.messages[1]["content"] == ""
        assert row.messages[2]["tool_call_id"] == "c1"

    def test_sharegpt_function_calls_become_tool_calls(self, tmp_path):
        turns = [
            ("human", "hi"),
            ("function_call", '{"name": "f", "arguments": {"a": 1}}'),
            ("observation", "2"),
            ("gpt", "b"),
        ]
        row = {"conversations": [{"from": who, "value": what} for who, what in turns], "tools": '[{"name": "f"}]'}
        (loaded,) = load(jsonl(tmp_path, row)).rows
        assert [message["role"] for message in loaded.messages] == ["user", "assistant", "tool", "assistant"]
        assert loaded.messages[1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
        assert loaded.tools == ({"name": "f"},)


class TestKindsOfFile:
    def test_json_lines_keep_line_numbers_over_blank_lines_and_odd_separators(self, tmp_path):
        text = "one\u2028two\u0085three"
        path = write(
            tmp_path, "a.jsonl", "\n" + json.dumps({"text": text}, ensure_ascii=False) + "\r\n\n" + '{"text": "b"}'
        )
        loaded = load(path)
        assert [row.text for row in loaded.rows] == [text, "b"]
        assert [row.where for row in loaded.rows] == [f"{path}:2", f"{path}:4"]

    def test_a_json_array_gives_the_line_of_every_element(self, tmp_path):
        rows = [{"text": "a"}, {"text": "b]},{"}, {"text": "c"}]
        path = write(tmp_path, "a.json", json.dumps(rows, indent=1))
        loaded = load(path)
        assert [row.text for row in loaded.rows] == ["a", "b]},{", "c"]
        assert [row.where for row in loaded.rows] == [f"{path}:2", f"{path}:5", f"{path}:8"]

    def test_json_lines_under_the_name_json(self, tmp_path):
        loaded = load(jsonl(tmp_path, {"text": "a"}, {"text": "b"}, name="a.json"))
        assert len(loaded.rows) == 2
        assert "one object a line" in loaded.reason

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_csv_with_quotes_newlines_and_any_usual_separator(self, tmp_path, delimiter):
        lines = [f"prompt{delimiter}completion", f'"say ""hi"",\nplease"{delimiter}hi', f"b{delimiter}c"]
        loaded = load(write(tmp_path, "a.csv", "\n".join(lines) + "\n"))
        assert said(loaded.rows[0]) == [("user", 'say "hi",\nplease'), ("assistant", "hi")]
        assert [row.where.rpartition(":")[2] for row in loaded.rows] == ["2", "4"]

    def test_csv_with_messages_as_json(self, tmp_path):
        cell = json.dumps(TALK).replace('"', '""')
        (row,) = load(write(tmp_path, "a.csv", f'messages\n"{cell}"\n')).rows
        assert said(row) == [("user", "hi"), ("assistant", "hello")]

    def test_parquet_without_the_nulls_that_arrow_adds(self, tmp_path):
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pylist([{"messages": [TALK[0], TALK[1] | {"weight": 1}]}, {"messages": TALK}])
        parquet.write_table(table, tmp_path / "a.parquet")
        loaded = load(tmp_path / "a.parquet")
        assert loaded.rows[0].messages == (TALK[0], TALK[1] | {"weight": 1})
        assert loaded.rows[1].messages == tuple(TALK)
        assert loaded.rows[1].where.endswith("a.parquet:2")

    def test_text_in_paragraphs(self, tmp_path):
        path = write(tmp_path, "a.txt", "one\ntwo\n\n\nthree\n")
        loaded = load(path)
        assert [(row.text, row.where) for row in loaded.rows] == [("one\ntwo", f"{path}:1"), ("three", f"{path}:5")]
        assert "blank lines" in loaded.reason

    def test_text_in_lines(self, tmp_path):
        path = write(tmp_path, "a.txt", "one\ntwo\nthree")
        loaded = load(path)
        assert [(row.text, row.where) for row in loaded.rows][1] == ("two", f"{path}:2")
        assert "one row a line" in loaded.reason

    def test_a_byte_order_mark_is_skipped_with_a_warning(self, tmp_path):
        for name, content in [("a.jsonl", '{"text": "a"}'), ("a.json", '[{"text": "a"}]'), ("a.csv", "text\na\n")]:
            loaded = load(write(tmp_path, name, b"\xef\xbb\xbf" + content.encode()))
            assert [row.text for row in loaded.rows] == ["a"]
            assert [problem.message for problem in loaded.warnings] == [
                "starts with a byte-order mark, which was skipped"
            ]


class TestDatasetsFolder:
    @pytest.fixture
    def datasets(self):
        import datasets

        datasets.disable_progress_bars()
        return datasets

    def test_one_set(self, tmp_path, datasets):
        datasets.Dataset.from_list([{"messages": TALK}]).save_to_disk(tmp_path / "set")
        (row,) = load(tmp_path / "set").rows
        assert (said(row)[1], row.where) == (("assistant", "hello"), f"{tmp_path}/set:1")

    def test_splits(self, tmp_path, datasets):
        part = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
        datasets.DatasetDict(part).save_to_disk(tmp_path / "set")
        assert load(tmp_path / "set").rows[0].text == "train"
        assert load(f"{tmp_path}/set#test").rows[0].text == "test"
        with pytest.raises(DataError, match="no split 'x'") as caught:
            load_rows(f"{tmp_path}/set#x")
        assert caught.value.hint == "add one of: #train, #test"

    def test_which_split(self, tmp_path, datasets):
        part = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("a", "b")}
        datasets.DatasetDict(part).save_to_disk(tmp_path / "set")
        with pytest.raises(DataError, match="which split"):
            load_rows(tmp_path / "set")

    def test_a_damaged_folder(self, tmp_path, datasets):
        datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "set")
        (arrow,) = (tmp_path / "set").glob("*.arrow")
        arrow.write_bytes(b"no arrow")
        with pytest.raises(DataError, match="cannot load"):
            load_rows(tmp_path / "set")

    def test_the_hub_is_asked_for_config_and_split(self, monkeypatch, datasets):
        asked = []

        def fake(identifier, config):
            asked.append((identifier, config))
            return {"test": datasets.Dataset.from_list([{"text": "a"}])}

        monkeypatch.setattr(datasets, "load_dataset", fake)
        (row,) = load("hub:owner/name@small#test").rows
        assert asked == [("owner/name", "small")]
        assert row.where == "hub:owner/name@small#test:1"

    def test_no_network(self, monkeypatch, datasets):
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(DataError, match="cannot load hub:nobody/nothing-of-this-name") as caught:
            load_rows("hub:nobody/nothing-of-this-name")
        assert "network" in caught.value.hint


@pytest.mark.parametrize(
    "conversation",
    [
        Conversation(tuple(TALK)),
        Conversation((TALK[0], TALK[1] | {"weight": 0}, *TALK), tools=({"function": {"name": "f"}},)),
        Conversation(
            (
                TALK[0],
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": None}}}],
                },
            )
        ),
        Conversation(
            ({"role": "user", "content": "a "}, {"role": "assistant", "content": "b\u2028"}), kind="completion"
        ),
        Conversation((), text="one\n\ntwo", kind="text"),
    ],
)
def test_rows_that_were_written_read_back_the_same(tmp_path, conversation):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [conversation])
    (back,) = load(path).rows
    assert back == Conversation(
        conversation.messages, f"{path}:1", conversation.tools, conversation.text, conversation.kind
    )


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "q", "completion": "a", "system": "Be brief"},
        {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
    ],
    ids=["system", "lists"],
)
def test_a_run_can_read_what_it_wrote_of_rows_that_were_written_in_two_ways(tmp_path, other):
    given = tmp_path / "given.jsonl"
    given.write_text(json.dumps({"prompt": "say", "completion": "x", "group": "g"}) + "\n" + json.dumps(other) + "\n")
    rows = load_rows(given).raise_on_problems().rows
    written = tmp_path / "written.jsonl"
    write_rows(written, rows)
    back = load_rows(written).raise_on_problems().rows
    assert [(row.messages, row.group) for row in back] == [(row.messages, row.group) for row in rows]


def test_the_same_row_written_in_two_ways_is_the_same_row(tmp_path):
    chat = Conversation(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}), "chat")
    plain = replace(chat, kind="completion", where="plain")
    (leak,) = find_leaks([chat], [plain])
    assert (leak.kind, leak.train, leak.heldout) == ("row", "chat", "plain")


def test_a_speaker_in_capitals_and_conversations_as_text(tmp_path):
    call = {"from": "Function_Call", "value": '{"name": "f", "arguments": {}}'}
    turns = [
        {"from": "Human", "value": "q"},
        call,
        {"from": "Observation", "value": "1"},
        {"from": "GPT", "value": "a"},
    ]
    (plain,) = load(jsonl(tmp_path, {"conversations": turns})).rows
    (text,) = load(jsonl(tmp_path, {"conversations": json.dumps(turns)})).rows
    assert plain.messages == text.messages
    assert plain.messages[1]["tool_calls"][0]["function"]["name"] == "f"


def test_what_is_not_used_is_said(tmp_path):
    loaded = load_rows(jsonl(tmp_path, {"messages": TALK, "parallel_tool_calls": False}))
    (warning,) = loaded.problems
    assert "'parallel_tool_calls' is not used" in warning.message
