"""What a message can hold is kept, and calls of functions in every spelling become one."""

from rowfiles import TALK, jsonl, load, said


def one(tmp_path, *messages, **row):
    return load(jsonl(tmp_path, {"messages": list(messages), **row})).rows[0]


def test_parts_of_text_are_joined(tmp_path):
    parts = [{"type": "text", "text": "good "}, {"type": "text", "text": "day"}]
    row = one(tmp_path, {"role": "user", "content": parts}, TALK[1])
    assert said(row)[0] == ("user", "good day")


def test_weights_names_and_thoughts_are_kept(tmp_path):
    answer = TALK[1] | {"weight": 0, "name": "bot", "reasoning_content": "hm"}
    row = one(tmp_path, TALK[0], answer, *TALK)
    assert row.messages[1] == answer


def test_tools_and_calls_are_kept_with_arguments_as_an_object(tmp_path):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    row = one(
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


def test_sharegpt_function_calls_become_tool_calls(tmp_path):
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
