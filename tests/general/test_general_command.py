"""``edgetune eval --general`` on tiny runs."""

from __future__ import annotations

import json

import pytest
from tinyruns import write_artifact, write_base, write_run

from edgetune.cli import main
from edgetune.general import measuring
from edgetune.general.record import load
from edgetune.general.report import GeneralWanted, report


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def run(tmp_path, base_folder, langtest):
    return write_run(tmp_path / "run", base_folder)


@pytest.fixture
def text(tmp_path):
    """Short: the tiny model has a context of 128 bytes."""
    path = tmp_path / "text.txt"
    path.write_text("Some words that mean nothing at all.")
    return path


@pytest.fixture
def opened(monkeypatch):
    """Names of what was really opened."""
    seen = []
    real = measuring._measure
    monkeypatch.setattr(measuring, "_measure", lambda subject, *rest: seen.append(subject.name) or real(subject, *rest))
    return seen


def test_base_and_tuned_are_compared_stored_and_not_computed_twice(run, text, opened):
    wanted = GeneralWanted(text=text)
    found = report(str(run.folder), wanted)
    assert [one.subject for one in found.evaluations] == ["base", "tuned"]
    assert [(one.before, one.after, one.n) for one in found.comparisons] == [("base", "tuned", 4)]
    assert found.evaluations[0].score("text bits_per_byte") != found.evaluations[1].score("text bits_per_byte")
    stored = sorted(path.name for path in run.evaluation_file("x").parent.iterdir())
    assert stored == [f"general-base-{wanted.mark()}.json", f"general-tuned-{wanted.mark()}.json"]
    assert load(run.evaluation_file(f"general-tuned-{wanted.mark()}")) == found.evaluations[1]
    assert report(str(run.folder), wanted) == found
    assert opened == ["base", "tuned"]


def test_an_artifact_is_compared_with_what_is_stored(run, text):
    artifact = write_artifact(run.exports_folder / "q8_0")
    alone = report(str(artifact.path), GeneralWanted(text=text))
    assert len(alone.remarks) == 2
    report(str(run.folder), GeneralWanted(text=text))
    found = report(str(artifact.path), GeneralWanted(text=text))
    assert [one.basis.runtime for one in found.evaluations] == ["torch", "torch", "llama.cpp"]
    assert [(one.before, one.after) for one in found.comparisons] == [
        ("base", "tuned"), ("base", "tiny-q8_0"), ("tuned", "tiny-q8_0"),
    ]  # fmt: skip
    assert "llama.cpp" in found.comparisons[1].notes[0]


def shown(capsys, *words):
    assert main(["eval", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_text_and_json_of_a_run(run, text, capsys):
    words = [run.folder, "--general", "--general-text", text, "--general-limit", "1"]
    lines = shown(capsys, *words)
    assert "piqa acc_norm" in lines
    assert "base → tuned on 3 questions" in lines
    assert "text.txt" in lines
    printed = json.loads(shown(capsys, *words, "--json"))
    assert printed["kind"] == "edgetune-eval-general"
    assert len(printed["evaluations"][0]["choices"]) == 3


def test_general_may_stand_before_the_subject_and_take_a_file(run, text, tmp_path, capsys):
    own = tmp_path / "own.jsonl"
    own.write_text('{"context": "a", "choices": ["b", "c"], "answer": 0}\n')
    for words in (["--general", own, run.folder], [f"--general={own}", run.folder], [run.folder, "--general", own]):
        found = json.loads(shown(capsys, *words, "--general-text", text, "--json"))
        assert list(found["evaluations"][0]["basis"]["metrics"]) == ["own"]
    assert "openbookqa acc" in shown(capsys, "--general", run.folder, "--general-text", text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--general", "--limit", "3"], "--limit is of rows of the task"),
        (["--general", "--data", "x.jsonl"], "--data is of rows of the task"),
        (["--general-limit", "3"], "--general-limit needs --general"),
        (["--general-text", "x.txt"], "--general-text needs --general"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(run, words, said, capsys):
    assert main(["eval", str(run.folder), *words]) == 2
    assert said in capsys.readouterr().err


def test_passages_longer_than_the_context_are_told(run, capsys):
    assert main(["eval", str(run.folder), "--general"]) == 4
    assert "longer than the context of 128 tokens" in capsys.readouterr().err
