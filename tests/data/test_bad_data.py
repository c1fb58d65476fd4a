"""Bad files: every fault is found, named with file and line, and nothing is raised before all are collected."""

import json

import pytest
from rowfiles import write

from edgetune.data.reading import load_rows
from edgetune.errors import DataError, ResourceError

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
GOOD = {"messages": [USER, ANSWER]}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def lines(*rows):
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


MESSAGE_FAULTS = {
    "unknown role": ([{"role": "bot", "content": "x"}, ANSWER], "message 1 has the role 'bot'; known roles: system"),
    "no role": ([{"content": "x"}, ANSWER], "message 1: no role"),
    "not an object": (["hi", ANSWER], "message 1 is not an object"),
    "no messages": ([], "'messages' is empty"),
    "a string": ("hi", "'messages' is not an array"),
    "no content": ([{"role": "user"}, ANSWER], "message 1 (user) has no content"),
    "content is a number": ([{"role": "user", "content": 3}, ANSWER], "content is int, not text"),
    "empty answer": ([USER, {"role": "assistant", "content": "  "}], "message 2 (assistant) is an empty answer"),
    "empty question": ([{"role": "user", "content": ""}, ANSWER], "message 1 (user) is an empty question"),
    "an image": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ANSWER],
        "a content part of type 'image_url'; only text can be learnt",
    ),
    "no assistant": ([USER], "has no assistant message"),
    "the user speaks last": ([USER, ANSWER, USER], "ends with a user message"),
    "no user": ([{"role": "system", "content": "x"}, ANSWER], "has no user message"),
    "weight 2": ([USER, ANSWER | {"weight": 2}], "weight must be 0 or 1, not 2"),
    "weight true": ([USER, ANSWER | {"weight": True}], "weight must be 0 or 1, not True"),
    "weight of a user": ([USER | {"weight": 1}, ANSWER], "only assistant messages may have one"),
    "all weights 0": ([USER, ANSWER | {"weight": 0}], "gives every assistant message weight 0"),
    "misspelt key": ([USER, ANSWER | {"wieght": 0}], "unknown key 'wieght'; did you mean 'weight'?"),
    "a part without text": (
        [{"role": "user", "content": [{"type": "text", "text": None}]}, ANSWER],
        "'text' of content part 1 is null, not text",
    ),
    "a part with a number": (
        [USER, {"role": "assistant", "content": [{"type": "text", "text": 3}]}],
        "'text' of content part 1 is a number, not text",
    ),
    "a name that is none": ([USER | {"name": {"a": 1}}, ANSWER], "message 1 (user): 'name' is an object, not text"),
    "an id that is an array": (
        [USER, {"role": "tool", "content": "x", "tool_call_id": ["a"]}, ANSWER],
        "'tool_call_id' is an array, not text",
    ),
    "a call's id that is an object": (
        [USER, {"role": "assistant", "tool_calls": [CALL | {"id": {"a": 1}}]}],
        "'id' is an object, not text",
    ),
    "arguments nested too deeply": (
        [
            USER,
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": '{"a":' + "[" * 600 + "]" * 600 + "}"}}],
            },
        ],
        "is nested more than 100 deep",
    ),
    "arguments with half an emoji": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": "\\ud83d"}'}}]}],
        "half an emoji",
    ),
    "arguments with NaN": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": NaN}'}}]}],
        "arguments of f are not valid JSON: holds NaN, which JSON does not have",
    ),
    "arguments with a number too large": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": [1e999]}'}}]}],
        "holds a number that is not finite",
    ),
    "arguments with a key twice": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}]}],
        "has the key 'a' twice",
    ),
    "half an emoji in a key": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"\ud83d": 1}}}]}],
        "half an emoji",
    ),
    "calls of a user": ([USER | {"tool_calls": [CALL]}, ANSWER], "only assistant messages may make calls"),
    "call without a name": (
        [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}],
        "a tool call without function.name",
    ),
    "call with bad JSON": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
        "arguments of f are not valid JSON",
    ),
    "call with a list": (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}],
        "arguments of f are not a JSON object",
    ),
    "answer to no call": (
        [
            USER,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "c2"},
            ANSWER,
        ],
        "answers the tool call 'c2', which nobody made",
    ),
}


@pytest.mark.parametrize("name", MESSAGE_FAULTS)
def test_faults_of_messages(tmp_path, name):
    messages, expected = MESSAGE_FAULTS[name]
    path = write(tmp_path, "rows.jsonl", lines(GOOD, {"messages": messages}, GOOD))
    loaded = load_rows(path)
    assert [row.where for row in loaded.rows] == [f"{path}:1", f"{path}:3"]
    (problem,) = loaded.errors
    assert problem.where == f"{path}:2"
    assert expected in problem.message


LINE_FAULTS = {
    "broken JSON": (b'{"messages": [', "is not valid JSON"),
    "single quotes": (b"{'messages': []}", "is not valid JSON: Expecting property name"),
    "two objects": (lines(GOOD).strip() + b" " + lines(GOOD).strip(), "more follows after the value"),
    "an array": (b"[1, 2]", "is an array; expected an object"),
    "a number": (b"3", "is a number"),
    "null": (b"null", "is null"),
    "not UTF-8": (b'{"messages": "\xe9t\xe9"}', "is not UTF-8 (byte 0xe9"),
    "NUL bytes": (b"\0\0\0\0", "holds NUL bytes"),
    "a NUL escape": (b'{"messages": [{"role": "user", "content": "a\\u0000"}]}', "holds a NUL character"),
    "half an emoji": (b'{"messages": "\\ud83d"}', "holds half an emoji"),
    "a key twice": (b'{"messages": [], "messages": []}', "has the key 'messages' twice"),
    "a nested key twice": (b'{"messages": [{"role": "user", "role": "user"}]}', "has the key 'role' twice"),
    "NaN": (b'{"messages": NaN}', "holds NaN, which JSON does not have"),
    "deep": (b'{"text": "a", "more": ' + b"[" * 700 + b"]" * 700 + b"}", "is nested more than 100 deep"),
    "a huge number": (b'{"text": ' + b"1" * 5000 + b"}", "holds a number of too many digits"),
    "too deep": (b'{"messages": ' + b"[" * 100_000, "nested too deeply"),
    "another layout": (
        lines({"instruction": "a", "output": "b"}).strip(),
        "is laid out as alpaca in a file of messages rows",
    ),
    "no known layout": (b'{"q": 1, "a": 2}', "lacks the keys messages (it has: 'q', 'a')"),
    "an empty object": (b"{}", "lacks the keys messages (it has: none)"),
    "tools without a name": (lines(GOOD | {"tools": [{"type": "function"}]}).strip(), "tool 1 has no function.name"),
    "tools not JSON": (lines(GOOD | {"tools": "["}).strip(), "'tools' is not valid JSON"),
}


@pytest.mark.parametrize("name", LINE_FAULTS)
def test_faults_of_lines(tmp_path, name):
    line, expected = LINE_FAULTS[name]
    path = write(tmp_path, "rows.jsonl", lines(GOOD, line, GOOD))
    loaded = load_rows(path)
    assert [row.where for row in loaded.rows] == [f"{path}:1", f"{path}:3"]
    (problem,) = loaded.errors
    assert problem.where == f"{path}:2"
    assert expected in problem.message
    assert loaded.total == 3


OTHER_LAYOUTS = {
    "sharegpt without turns": ({"conversations": [{"who": "x"}]}, "turn 1 lacks the keys from+value"),
    "sharegpt with a stranger": ({"conversations": [{"from": "narrator", "value": "x"}]}, "turn 1 is from 'narrator'"),
    "sharegpt, not an array": ({"conversations": "x"}, "'conversations' is not an array"),
    "sharegpt with a call that is a number": (
        {"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": 3}]},
        "holds int where JSON text is expected",
    ),
    "two system prompts": (
        {"conversations": [{"role": "system", "content": "a"}, USER, ANSWER], "system": "b"},
        "one system prompt in 'system' and another in its messages",
    ),
    "a system prompt that is an array": ({"conversations": [USER, ANSWER], "system": ["b"]}, "'system' is list"),
    "alpaca without an answer": ({"instruction": "a", "output": ""}, "is an empty answer"),
    "alpaca with a null": ({"instruction": "a", "output": None}, "'output' is missing"),
    "alpaca with a number": ({"instruction": 1, "output": "b"}, "'instruction' is int, not text"),
    "completion without a prompt": ({"prompt": "", "completion": "b"}, "is an empty question"),
    "text of nothing": ({"text": "  "}, "'text' is empty"),
    "text of a list": ({"text": ["a"]}, "'text' is list, not text"),
}


@pytest.mark.parametrize("name", OTHER_LAYOUTS)
def test_faults_of_other_layouts(tmp_path, name):
    row, expected = OTHER_LAYOUTS[name]
    loaded = load_rows(write(tmp_path, "rows.jsonl", lines(row)))
    assert loaded.rows == ()
    assert any(expected in problem.message for problem in loaded.errors), loaded.errors


FILE_FAULTS = {
    "empty.jsonl": (b"", "holds no rows"),
    "blank.jsonl": (b"\n\n", "holds no rows"),
    "utf16.jsonl": ('{"text": "a"}'.encode("utf-16"), "is UTF-16; convert it: iconv"),
    "array.jsonl": (b'[\n{"text": "a"}\n]', "a file with one array must be named .json"),
    "mark.jsonl": (b"\xef\xbb\xbf", "holds no rows"),
    "mark.json": (b"\xef\xbb\xbf", "holds no rows"),
    "infinite.json": (b'[{"text": "a", "score": 1e999}]', "holds a number that is not finite"),
    "key.json": (b'[{"text": "a", "\\ud83d": 1}]', "holds half an emoji"),
    "key2.json": (b'[{"text": "a", "\\ud83d": 1, "\\ud83d": 1}]', "has the key '\\ud83d' twice"),
    "empty.json": (b"", "holds no rows"),
    "none.json": (b"[]", "holds no rows"),
    "object.json": (b'{\n"text": "a"}', "is not an array of objects"),
    "string.json": (b'"a"', "is not an array of objects"),
    "cut.json": (b'[{"text": "a"},', "ends inside its array; the file was cut short"),
    "cut2.json": (b'[{"text": "a"}, {"te', "is not valid JSON"),
    "comma.json": (b'[{"text": "a"} {"text": "b"}]', "is not followed by ',' or ']'"),
    "more.json": (b'[{"text": "a"}] x', "goes on after its array"),
    "twice.json": (b'[{"text": "a", "text": "b"}]', "has the key 'text' twice"),
    "latin.json": (b'[\n{"text": "\xe9"}]', "is not UTF-8 (byte 0xe9)"),
    "utf32.json": ("[]".encode("utf-32"), "is UTF-32; convert it: iconv -f UTF-32"),
    "utf32.jsonl": ("{}".encode("utf-32"), "is UTF-32; convert it: iconv -f UTF-32"),
    "deep.json": (b'{"text": ' + b"[" * 5000, "nested too deeply"),
    "number.json": (b'[{"text": ' + b"1" * 5000 + b"}]", "holds a number of too many digits"),
    "capitals.csv": (b"Prompt , Completion\na,b\n", "written as 'prompt' and 'completion' they would be"),
    "utf16.json": ("[]".encode("utf-16"), "is UTF-16"),
    "empty.csv": (b"", "holds no rows"),
    "header.csv": (b"prompt,completion\n", "holds no rows"),
    "short.csv": (b"prompt,completion\na\n", "has 1 columns where the header has 2"),
    "long.csv": (b"prompt,completion\na,b,c\n", "has 3 columns where the header has 2"),
    "twice.csv": (b"text,text\na,b\n", "has the column 'text' twice"),
    "wrong.csv": (b"q,a\n1,2\n", "no known format has the keys 'q', 'a'"),
    "quote.csv": (b'text\n"a\n', "is not valid CSV"),
    "nul.csv": (b"text\na\0\n", "holds NUL bytes"),
    "json.csv": (b"messages\n[{]\n", "column 'messages' is not valid JSON"),
    "latin.csv": (b"text\n\xe9\n", "is not UTF-8"),
    "no.parquet": (b"PAR1 this is not parquet PAR1", "is not a readable Parquet file"),
    "empty.parquet": (b"", "is not a readable Parquet file"),
    "empty.txt": (b"", "holds no rows"),
    "blank.txt": (b" \n\n", "holds no rows"),
    "latin.txt": (b"caf\xe9", "is not UTF-8"),
    "nul.txt": (b"a\0b", "holds a NUL character"),
    "slip.csv": (b"question,answr\nhi,there\n", "did you mean 'answer' by 'answr'?"),
    "keys.jsonl": (b'{"q": 1}', "no known format has the keys 'q' (known are messages: messages"),
    "bare.jsonl": (b"{}", "no known format"),
}


@pytest.mark.parametrize("name", FILE_FAULTS)
def test_faults_of_files(tmp_path, name):
    content, expected = FILE_FAULTS[name]
    path = write(tmp_path, name, content)
    loaded = load_rows(path)
    assert any(expected in problem.message for problem in loaded.errors), loaded.errors
    assert all(problem.where.startswith(str(path)) for problem in loaded.problems)
    with pytest.raises(DataError) as caught:
        loaded.raise_on_problems()
    assert caught.value.exit_code == 4
    as_text = " --format text" if loaded.format == "text" else ""
    assert caught.value.hint == f"edgetune data check {path}{as_text} lists them all"


def test_all_faults_are_collected_in_file_order(tmp_path):
    rows = [GOOD, b"{", {"messages": [USER]}, b"\xff", {"text": "x"}, GOOD, b"[]"]
    path = write(tmp_path, "rows.jsonl", lines(*rows))
    with pytest.raises(DataError, match="5 problems in 7 rows") as caught:
        load_rows(path).raise_on_problems()
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{path}:{n}" for n in (2, 3, 4, 5, 7)]


def test_unused_keys_are_one_warning_each(tmp_path):
    rows = [GOOD | {"id": 1, "tool": []}, GOOD | {"id": 2}]
    loaded = load_rows(write(tmp_path, "rows.jsonl", lines(*rows))).raise_on_problems()
    assert [problem.message for problem in loaded.warnings] == [
        "key 'id' is not used (2 rows)",
        "key 'tool' is not used (1 rows); did you mean 'tools'?",
    ]


def test_rows_of_classes_read_as_plain_text_say_how_they_are_read(tmp_path):
    path = write(tmp_path, "rows.jsonl", lines({"text": "lovely", "label": "good", "id": 1}))
    said = [problem.message for problem in load_rows(path).warnings]
    assert said == ["key 'label' is not used (1 rows); --format labelled reads it", "key 'id' is not used (1 rows)"]
    assert load_rows(path, "labelled").warnings[0].message == "key 'id' is not used (1 rows)"


def test_odd_keys_of_messages_are_warnings(tmp_path):
    messages = [
        USER | {"timestamp": 3},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "x"},
        ANSWER,
    ]
    loaded = load_rows(write(tmp_path, "rows.jsonl", lines({"messages": messages}))).raise_on_problems()
    assert [problem.message for problem in loaded.warnings] == [
        "message 1 (user): key 'timestamp' is not used",
        "message 3 (tool) has no tool_call_id",
    ]
    assert "timestamp" not in loaded.rows[0].messages[0]


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="no such data file") as caught:
        load_rows(tmp_path / "none.jsonl")
    assert "hub:ID" in caught.value.hint


def test_an_unknown_kind_of_file(tmp_path):
    with pytest.raises(DataError, match=r"'\.xlsx' files are not supported") as caught:
        load_rows(write(tmp_path, "a.xlsx", "x"))
    assert ".jsonl" in caught.value.hint


def test_an_unknown_format(tmp_path):
    with pytest.raises(DataError, match="unknown format 'sharegtp'"):
        load_rows(write(tmp_path, "a.jsonl", lines(GOOD)), format="sharegtp")


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match="not one written by save_to_disk"):
        load_rows(tmp_path)


def test_a_hub_source_without_a_name():
    with pytest.raises(DataError, match="no data set named"):
        load_rows("hub:")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, "a.jsonl", lines(GOOD))

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read everything
    with pytest.raises(ResourceError, match="Permission denied") as caught:
        load_rows(path)
    assert caught.value.hint == f"chmod +r {path}"
