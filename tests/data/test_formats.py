"""Rows of every layout become the conversations they say."""

import json

import pytest
from rowfiles import TALK, jsonl, load, said

from edgetune.data.formats import FORMATS
from edgetune.data.reading import load_rows
from edgetune.recipe import DataSettings


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
