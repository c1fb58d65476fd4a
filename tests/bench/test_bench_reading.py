"""What is wrong with a file that shall be a benchmark report: one message for each mistake."""

import json

import pytest
from benchreports import report, sampled

from edgetune.bench.reading import read_report
from edgetune.cli import main
from edgetune.errors import EdgetuneError


def test_what_was_stored_is_read(tmp_path):
    stored = report({"decode": [1.0, 2.0, 3.0]})
    stored.write(tmp_path / "one.json")
    assert read_report(tmp_path / "one.json") == stored


def changed(**fields):
    record = report({"decode": [1.0]}).model_dump(mode="json")
    return json.dumps({**record, **fields})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"kind": "edgetune-bench",\n', "is damaged JSON at line 3"),
        ('{"kind": "edgetune-bench", "schema_version": 1}', "schema version 1, written by an older edgetune"),
        ('{"kind": "edgetune-bench", "schema_version": 3}', "schema version 3, written by a newer edgetune"),
        ('{"kind": "edgetune-bench"}', "it has no schema version"),
        ('{"kind": "edgetune-verification", "schema_version": 1}', "it says that it is 'edgetune-verification'"),
        ("{}", "it does not say what it is"),
        ("3", "is JSON, but no benchmark report"),
        (f"[{changed()}]", "is a list"),
        (changed(created=5, colour="red"), "is a damaged benchmark report"),
    ],
)
def test_each_mistake_has_its_own_message(tmp_path, text, words):
    path = tmp_path / "one.json"
    path.write_text(text)
    with pytest.raises(EdgetuneError) as caught:
        read_report(path)
    assert words in caught.value.message
    assert "edgetune bench ARTIFACT" in caught.value.hint


def test_a_damaged_report_names_the_places(tmp_path):
    (tmp_path / "one.json").write_text(changed(created=5, colour="red"))
    with pytest.raises(EdgetuneError) as caught:
        read_report(tmp_path / "one.json")
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {"created", "colour"}


def test_no_file_a_folder_and_no_text(tmp_path, capsys):
    with pytest.raises(EdgetuneError, match="no such file"):
        read_report(tmp_path / "gone.json")
    with pytest.raises(EdgetuneError, match="cannot be read"):
        read_report(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF\xff\xfe")
    with pytest.raises(EdgetuneError, match="is no text"):
        read_report(tmp_path / "model.gguf")
    sampled([1.0, 2.0, 3.0]).write(tmp_path / "one.json")
    assert main(["compare", str(tmp_path / "one.json"), str(tmp_path / "gone.json")]) == 1
    assert "no such file" in capsys.readouterr().err
