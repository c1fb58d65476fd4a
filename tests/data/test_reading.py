"""Good files of every kind become their rows, each with its line."""

import json

import pytest
from rowfiles import TALK, jsonl, load, said, write


def test_json_lines_keep_line_numbers_over_blank_lines_and_odd_separators(tmp_path):
    text = "one\u2028two\u0085three"
    path = write(
        tmp_path, "a.jsonl", "\n" + json.dumps({"text": text}, ensure_ascii=False) + "\r\n\n" + '{"text": "b"}'
    )
    loaded = load(path)
    assert [row.text for row in loaded.rows] == [text, "b"]
    assert [row.where for row in loaded.rows] == [f"{path}:2", f"{path}:4"]


def test_a_json_array_gives_the_line_of_every_element(tmp_path):
    rows = [{"text": "a"}, {"text": "b]},{"}, {"text": "c"}]
    path = write(tmp_path, "a.json", json.dumps(rows, indent=1))
    loaded = load(path)
    assert [row.text for row in loaded.rows] == ["a", "b]},{", "c"]
    assert [row.where for row in loaded.rows] == [f"{path}:2", f"{path}:5", f"{path}:8"]


def test_json_lines_under_the_name_json(tmp_path):
    loaded = load(jsonl(tmp_path, {"text": "a"}, {"text": "b"}, name="a.json"))
    assert len(loaded.rows) == 2
    assert "one object a line" in loaded.reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_quotes_newlines_and_any_usual_separator(tmp_path, delimiter):
    lines = [f"prompt{delimiter}completion", f'"say ""hi"",\nplease"{delimiter}hi', f"b{delimiter}c"]
    loaded = load(write(tmp_path, "a.csv", "\n".join(lines) + "\n"))
    assert said(loaded.rows[0]) == [("user", 'say "hi",\nplease'), ("assistant", "hi")]
    assert [row.where.rpartition(":")[2] for row in loaded.rows] == ["2", "4"]


def test_csv_with_messages_as_json(tmp_path):
    cell = json.dumps(TALK).replace('"', '""')
    (row,) = load(write(tmp_path, "a.csv", f'messages\n"{cell}"\n')).rows
    assert said(row) == [("user", "hi"), ("assistant", "hello")]


def test_parquet_without_the_nulls_that_arrow_adds(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist([{"messages": [TALK[0], TALK[1] | {"weight": 1}]}, {"messages": TALK}])
    parquet.write_table(table, tmp_path / "a.parquet")
    loaded = load(tmp_path / "a.parquet")
    assert loaded.rows[0].messages == (TALK[0], TALK[1] | {"weight": 1})
    assert loaded.rows[1].messages == tuple(TALK)
    assert loaded.rows[1].where.endswith("a.parquet:2")


def test_text_in_paragraphs(tmp_path):
    path = write(tmp_path, "a.txt", "one\ntwo\n\n\nthree\n")
    loaded = load(path)
    assert [(row.text, row.where) for row in loaded.rows] == [("one\ntwo", f"{path}:1"), ("three", f"{path}:5")]
    assert "blank lines" in loaded.reason


def test_text_in_lines(tmp_path):
    path = write(tmp_path, "a.txt", "one\ntwo\nthree")
    loaded = load(path)
    assert [(row.text, row.where) for row in loaded.rows][1] == ("two", f"{path}:2")
    assert "one row a line" in loaded.reason


def test_a_byte_order_mark_is_skipped_with_a_warning(tmp_path):
    for name, content in [("a.jsonl", '{"text": "a"}'), ("a.json", '[{"text": "a"}]'), ("a.csv", "text\na\n")]:
        loaded = load(write(tmp_path, name, b"\xef\xbb\xbf" + content.encode()))
        assert [row.text for row in loaded.rows] == ["a"]
        assert [problem.message for problem in loaded.warnings] == ["starts with a byte-order mark, which was skipped"]


def test_a_number_that_is_not_finite_is_an_empty_cell_of_a_table(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"text": ["a", "b"], "score": [float("nan"), float("-inf")]}), path)
    assert [row.text for row in load(path).raise_on_problems().rows] == ["a", "b"]
