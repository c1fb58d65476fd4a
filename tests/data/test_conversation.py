"""Rows that are written read back the same."""

import json

import pytest
from rowfiles import TALK, load

from edgetune.data.conversation import Conversation, write_rows
from edgetune.data.reading import load_rows


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
